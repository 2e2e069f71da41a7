"""Files over HTTP(S) or from the file system: resumed, checked, and safe for several runs at once.

Ranges: RFC 9110 section 14. Credentials come from netrc, or from the URL; neither is ever printed.
"""

import contextlib
import re
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import urllib3

from builder.errors import ArtifactError, ChecksumError
from builder.net.failure import Failure
from builder.net.partial_file import PartialFile, file_sha256
from builder.net.session import CHUNK_BYTES, HttpSession, Waiting, header_text
from builder.net.temporary import is_temporary_status, now_utc, retry_after_seconds
from builder.oci.reference import redact_url
from builder.runtime.regular_file import open_regular
from builder.runtime.retry import RetryableError, RetryPolicy

_LARGEST_TEXT = 64 * 1024
# An Envoy with its symbols has a tenth of this; a server that never stops sending must not fill the disk.
_LARGEST_FILE = 4 * 1024**3
_LENGTH = re.compile(r"[0-9]{1,19}")
# Object stores answer 403 for what is not there, so that nobody can find out what is.
_NOTHING_THERE = (403, 404, 410)


def _show_nothing(done: int, total: int) -> None:
    """Show no progress."""


class HttpDownloader:
    """Implements `ports.Downloader`. For many threads at once."""

    def __init__(self, *, retry: RetryPolicy, waiting: Waiting | None = None) -> None:
        waiting = waiting or Waiting()
        self._retry = retry
        self._check_interrupted = waiting.check_interrupted
        self._timeouts = waiting.timeouts
        self._session = HttpSession(use_netrc=True, patience=waiting.patience)

    def abort(self) -> None:
        """End all requests, from any thread. Meant for when `check_interrupted` raises: then so do all operations."""
        self._session.abort()

    def read_text(self, url: str) -> str | None:
        """See `ports.Downloader.read_text`. Raises ArtifactError where it is no text, or larger than 64 KiB."""
        path = _local_path(url)
        content = _read_local(path) if path else self._retry.run(lambda: self._read_small(url))
        if content is None:
            return None
        if len(content) > _LARGEST_TEXT:
            raise ArtifactError(f"{redact_url(url)} is no small text file: it has more than {_LARGEST_TEXT} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise ArtifactError(f"{redact_url(url)} is no text file: {error.reason} at byte {error.start}") from error

    def download(self, url: str, sha256: str, into: Path, *, on_bytes: Callable[[int, int], None] | None = None) -> None:
        """See `ports.Downloader.download`. `into` is left as it is where it has that sum already."""
        expected = _parse_sum(url, sha256)
        if file_sha256(into) == expected:
            return
        with PartialFile.open(into, self._wait) as part:
            # Another process may have fetched it while we waited for it.
            if file_sha256(into) == expected:
                part.clear()
                return
            self._fetch(url, expected, part, on_bytes or _show_nothing)
            part.finish()

    def exists(self, url: str) -> bool:
        """See `ports.Downloader.exists`."""
        path = _local_path(url)
        return path.is_file() if path else self._retry.run(lambda: self._probe(url))

    def download_unsummed(self, url: str, into: Path) -> str:
        """See `ports.Downloader.download_unsummed`. Never resumed: with no sum, two halves could be of two files."""
        with PartialFile.open(into, self._wait) as part:

            def attempt() -> None:
                part.clear()
                self._continue(_Transfer(url, part, _show_nothing))

            path = _local_path(url)
            if path:
                part.clear()
                self._copy(path, part, _show_nothing)
            else:
                self._retry.run(attempt)
            part.finish()
            return part.hexdigest()

    def _probe(self, url: str) -> bool:
        """By the first byte, as a HEAD request is not what presigned URLs are signed for."""
        with self._get(url, {"Range": "bytes=0-0"}) as response:
            if response.status_code in _NOTHING_THERE:
                return False
            if response.status_code not in (200, 206):
                raise _refusal(url, response)
            return True

    def _wait(self, seconds: float) -> None:
        self._check_interrupted()
        self._retry.sleep(seconds)

    def _fetch(self, url: str, expected: str, part: PartialFile, on_bytes: Callable[[int, int], None]) -> None:
        """Fill the part. Raises ChecksumError, with the part emptied, where it is not what it should be."""
        path = _local_path(url)
        if path:
            part.clear()
            self._copy(path, part, on_bytes)
        else:
            transfer = _Transfer(url, part, on_bytes)
            self._retry.run(lambda: self._advance(transfer))
            if transfer.resumed and part.hexdigest() != expected:
                # The beginning may be of another file that was at this URL before: it gets one chance from the start.
                part.clear()
                self._retry.run(lambda: self._advance(transfer))
        got = part.hexdigest()
        if got != expected:
            part.clear()
            raise ChecksumError(
                f"{redact_url(url)} is not what it should be: its sha256 is {got}, expected {expected}",
                hint="Does a mirror or proxy alter it on the way, or has it been replaced? Nothing of it was kept: try "
                "again, or name another source for it.",
            )

    def _copy(self, path: Path, part: PartialFile, on_bytes: Callable[[int, int], None]) -> None:
        try:
            total = path.stat().st_size
            with open_regular(path) as file:
                while chunk := file.read(CHUNK_BYTES):
                    self._check_interrupted()
                    _take(chunk, str(path), part)
                    on_bytes(part.size, total)
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error.strerror}", hint="Is the path right?") from error

    def _read_small(self, url: str) -> bytes | None:
        with self._get(url, {}) as response:
            if response.status_code in _NOTHING_THERE:
                return None
            if response.status_code != 200:
                raise _refusal(url, response)
            content = bytearray()
            for chunk in self._stream(url, response):
                content += chunk
                if len(content) > _LARGEST_TEXT:
                    break
            return bytes(content)

    def _advance(self, transfer: "_Transfer") -> None:
        """As `_continue`; a try that got further than all before it says so."""
        try:
            self._continue(transfer)
        except RetryableError as error:
            error.progressed = transfer.has_advanced()
            raise

    def _continue(self, transfer: "_Transfer") -> None:
        """Fetch what is missing. Raises RetryableError where the connection is lost, with the part as far as it came."""
        with self._get(transfer.url, transfer.range_headers()) as response:
            if response.status_code == 416:
                # The part has all there is, or more; then it is not a part of this file.
                if transfer.is_complete(response):
                    return
                transfer.part.clear()
                raise RetryableError(ArtifactError(f"cannot download {redact_url(transfer.url)}: it has become shorter"))
            if response.status_code not in (200, 206):
                raise _refusal(transfer.url, response)
            total = transfer.accept(response)
            for chunk in self._stream(transfer.url, response):
                _take(chunk, transfer.url, transfer.part)
                transfer.on_bytes(transfer.part.size, total)

    @contextmanager
    def _get(self, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        self._check_interrupted()
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=self._timeouts)
        # ValueError is what a redirect to no address, such as `http://[::1/x`, ends in.
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._lost(url, error) from error
        with response:
            yield response

    def _stream(self, url: str, response: requests.Response) -> Iterator[bytes]:
        """The bytes as they lie on the server: one that calls a .tar.gz gzip-encoded must not have it unpacked."""
        try:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                self._check_interrupted()
                yield chunk
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._lost(url, error) from error

    def _lost(self, url: str, error: Exception) -> Exception:
        # An aborted request is not a lost one.
        self._check_interrupted()
        return _lost(url, self._session.explain(url, error))


class _Transfer:
    """One file on its way, over as many requests as it takes."""

    def __init__(self, url: str, part: PartialFile, on_bytes: Callable[[int, int], None]) -> None:
        self.url = url
        self.part = part
        self.on_bytes = on_bytes
        # Whether what the part holds came in more than one piece, perhaps of different files.
        self.resumed = False
        self._etag = ""
        self._furthest = part.size

    def has_advanced(self) -> bool:
        """Whether the part holds more now than it ever did when this was asked."""
        before, self._furthest = self._furthest, max(self._furthest, self.part.size)
        return self.part.size > before

    def range_headers(self) -> dict[str, str]:
        """What to ask for: the rest of what we have, if it is still the same file."""
        headers = self.part.range_headers()
        self.resumed = self.resumed or bool(headers)
        return {**headers, "If-Range": self._etag} if headers and self._etag else headers

    def accept(self, response: requests.Response) -> int:
        """Make the part fit the answer; the size of the whole file, 0 where unknown.

        Raises RetryableError for another range than we asked for.
        """
        etag = response.headers.get("ETag", "")
        # If-Range takes strong tags only: RFC 9110 section 13.1.5.
        self._etag = "" if etag.startswith("W/") else etag
        if response.status_code == 206:
            total = self.part.total_size(response.headers)
            if total is None:
                self.part.clear()
                raise RetryableError(ArtifactError(f"cannot resume {redact_url(self.url)}: the server sent another range"))
            return total
        self.part.clear()
        self.resumed = False
        length = response.headers.get("Content-Length", "")
        return int(length) if _LENGTH.fullmatch(length) else 0

    def is_complete(self, response: requests.Response) -> bool:
        """Whether an answer "range not satisfiable" says that we have everything."""
        return response.headers.get("Content-Range", "") == f"bytes */{self.part.size}"


def _local_path(url: str) -> Path | None:
    """The path of a `file:` URL or plain path, None for HTTP. Raises ArtifactError for anything else."""
    if "://" not in url:
        return Path(url)
    # `http://[::1/x` and port 99999 are no addresses to urllib; the port is looked at only when it is asked for.
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            return Path(urllib.parse.unquote(parts.path))
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return None
    raise ArtifactError(
        f"cannot download {redact_url(url)}: it is neither a path nor a URL that can be read",
        hint="Write it as https://…, http://…, file:///… or a path.",
    )


def _read_local(path: Path) -> bytes | None:
    try:
        with open_regular(path) as file:
            return file.read(_LARGEST_TEXT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error


def _take(chunk: bytes, url: str, part: PartialFile) -> None:
    """Raises ArtifactError, with nothing kept, for more than any file that is meant."""
    if part.size + len(chunk) > _LARGEST_FILE:
        part.clear()
        raise ArtifactError(
            f"{redact_url(url)} is too large: it has more than {_LARGEST_FILE} bytes", hint="Is the URL the right one?"
        )
    part.append(chunk)


def _parse_sum(url: str, sha256: str) -> str:
    text = sha256.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ArtifactError(f"{sha256[:80]!r}, given as checksum of {redact_url(url)}, is no sha256")
    return text


def _lost(url: str, failure: Failure) -> Exception:
    artifact_error = ArtifactError(f"cannot download {redact_url(url)}: {failure.text}", hint=failure.hint)
    return RetryableError(artifact_error, silent=failure.silent, brief=failure.brief) if failure.temporary else artifact_error


def _refusal(url: str, response: requests.Response) -> Exception:
    status = response.status_code
    hints = {
        401: "Put its login into ~/.netrc.",
        403: "It may not be there, or not be for you: is the URL right, and does it need a login in ~/.netrc?",
        404: "Is the URL right, and has this version been published?",
        410: "It has been removed there: name another source for it.",
        429: "The server limits the rate of requests.",
    }
    kind = header_text(response.headers, "Content-Type")
    what = " with a web page" if kind == "text/html" else ""
    error = ArtifactError(f"cannot download {redact_url(url)}: HTTP {status}{what}", hint=hints.get(status, ""))
    if not is_temporary_status(status):
        return error
    return RetryableError(error, retry_after_seconds(response.headers.get("Retry-After", ""), now_utc()))
