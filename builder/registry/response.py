"""What a registry answered, and what its refusals mean to a user.

Sources: OCI distribution-spec v1.1 section "Error Codes"; the statuses that proxies before registries give.
"""

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from builder.errors import AccessDenied, RegistryError
from builder.net.failure import Failure, speaks_tls_hint
from builder.net.session import header_text
from builder.net.temporary import is_temporary_status, now_utc, retry_after_seconds
from builder.oci.reference import redact_url
from builder.runtime.json_document import parse_json
from builder.runtime.retry import RetryableError

_LONGEST_MESSAGE = 300
_LONGEST_BODY = 64 * 1024
# "299 - "text"": distribution-spec v1.1, section "Warnings". Possessive, as what a server sends may be made to take long.
_WARNING = re.compile(r'299 - "((?:[^"\\]|\\.)*+)"')
_LONGEST_HEADER = 16 * 1024
_NEXT_PAGE = re.compile(r'<([^<>]*+)>\s*+;\s*+rel="?next"?')
# Harbor's "adding … of storage resource, which … will exceed the configured upper limit of …" (403, and 412 of old), Quay's
# "Quota has been exceeded on namespace" (403), and what proxies say with 413.
_QUOTA = re.compile(r"(?i)\bquota\b|\bexceed(?:s|ed)? the configured upper limit\b|\bstorage limit\b")
_QUOTA_STATUSES = (403, 412, 413, 429, 507)
_GONE = ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND")


class SpeaksTls(RegistryError):
    """The host was spoken to by plain HTTP, and wants TLS."""


class ClosedAtOnce(RegistryError):
    """The host has closed the connection without a word, which is also how OpenSSL takes plain HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer with its body, or the beginning of it. `headers` take names in any case."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def code(self) -> str:
        """The registry's own error code such as `NAME_UNKNOWN`; "" where it gave none."""
        return self._first_error()[0]

    @property
    def says_not_found(self) -> bool:
        """Whether a registry says that there is no such thing, and not some web server that there is no such page."""
        return self.status == 404 and (self.code in _GONE or not self.content.strip())

    @property
    def speaks_tls(self) -> bool:
        """Whether a server says that it wants HTTPS, in the words of Go's, of nginx's and of what is built on them."""
        text = self.content[:_LONGEST_MESSAGE].lower()
        return self.status == 400 and (b"http request to an https server" in text or b"sent to https port" in text)

    @property
    def explanation(self) -> str:
        """The registry's code and message, or what can be read of any other body; bounded and printable."""
        code, message = self._first_error()
        text = ": ".join(part for part in (code, message) if part) or _readable(self.content)
        # Some servers repeat the request in their answer, with its credentials.
        text = re.sub(r"(?i)\b(basic|bearer)\s+[\w.~+/=-]{8,}", r"\1 [removed]", text)
        return _short(text)

    def _first_error(self) -> tuple[str, str]:
        try:
            document = parse_json(self.content)
        except ValueError:
            return "", ""
        errors = document.get("errors") if isinstance(document, dict) else None
        first = errors[0] if isinstance(errors, list) and errors else document
        if not isinstance(first, dict):
            return "", ""
        # `error_description` and `details` are what token services answer: RFC 6749 section 5.2, Docker's token spec.
        message = first.get("message") or first.get("error_description") or first.get("details") or first.get("error")
        return str(first.get("code") or "").upper(), str(message or "")


def refusal(act: str, host: str, answer: Answer, *, had_credentials: bool = False) -> RegistryError | RetryableError:
    """The exception for an answer that is no success. `act` says what we were at: `upload blob … to …`."""
    explanation = answer.explanation
    message = (
        f"cannot {act}: HTTP {answer.status} from {answer.method} {redact_url(answer.url)}"
        f"{f': {explanation}' if explanation else ''}"
    )
    if answer.status in (401, 403) and not _is_over_quota(answer):
        hint = _access_hint(host, answer.status, had_credentials)
        return AccessDenied(message, hint=hint, status=answer.status)
    temporary = is_temporary_status(answer.status) and not _is_full(answer) and not _is_over_quota(answer)
    error = RegistryError(message, hint=_hint(host, answer), status=answer.status, temporary=temporary)
    if not temporary:
        return error
    return RetryableError(error, retry_after_of(answer.headers))


def retry_after_of(headers: Mapping[str, str]) -> float:
    """The seconds that an answer asks to wait, 0 where it does not say."""
    return retry_after_seconds(headers.get("Retry-After", ""), now_utc())


def is_asked_too_much(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a host says that it gets too many requests: also a 503 that names a time is about load (RFC 9110, 15.6.4)."""
    return status == 429 or (status == 503 and "Retry-After" in headers)


def warnings_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a registry wants its users to know."""
    found = _WARNING.findall(headers.get("Warning", "")[:_LONGEST_HEADER])
    return tuple(_short(re.sub(r"\\(.)", r"\1", text)) for text in found)


def lost(act: str, method: str, url: str, failure: Failure) -> RegistryError | RetryableError:
    """The exception for a request that got no answer."""
    kind = SpeaksTls if failure.speaks_tls else ClosedAtOnce if failure.closed else RegistryError
    error = kind(f"cannot {act}: {failure.text} ({method} {redact_url(url)})", hint=failure.hint, temporary=failure.temporary)
    return RetryableError(error, silent=failure.silent, brief=failure.brief) if failure.temporary else error


def _access_hint(host: str, status: int, had_credentials: bool) -> str:
    login = "docker login" if host == "docker.io" else f"docker login {host}"
    if status == 403:
        return (
            f"You have no right to do this there: ask for the right to push, choose another --hub, or `{login}` as somebody else."
        )
    if had_credentials:
        return f"The registry refuses what Docker has stored for {host}: log in again with `{login}`, or ask for access."
    return f"Docker has no login for {host}: run `{login}`, then the same again. The repository may also not exist."


def _is_full(answer: Answer) -> bool:
    return "no space left" in answer.explanation.lower()


def _is_over_quota(answer: Answer) -> bool:
    """Whether a registry says that what is allowed there is used up; each has its own words, and a status of its own."""
    return answer.status in _QUOTA_STATUSES and _QUOTA.search(answer.explanation) is not None


def _hint(host: str, answer: Answer) -> str:
    if answer.speaks_tls:
        return speaks_tls_hint()
    if _is_over_quota(answer):
        return (
            f"The quota at {host} is used up: delete what is not needed there, or have it raised, and run the same again. "
            "What was sent stays, and is not sent again."
        )
    if _is_full(answer) or answer.status == 507:
        return "The registry's own storage is full: free some there, or collect its garbage."
    if answer.status == 404 and answer.method not in ("GET", "HEAD") and answer.code:
        return f"The project or repository may have to be created at {host} first; is the --hub spelt right?"
    if answer.status == 404:
        return f"Is {host} a registry? `curl -i` its /v2/ to see."
    return {
        405: f"{host} takes nothing, as one that is read-only while it is maintained: try later, or choose another --hub.",
        415: 'It may take nothing of Docker\'s own media types, which this image has: zot does with `"http": {"compat": '
        '["docker2s2"]}` in its configuration; or take a base image in OCI\'s form.',
        413: "A proxy before the registry limits the size of uploads: raise its limit (nginx: client_max_body_size).",
        429: f"{host} limits the rate of requests: log in if you have not, or try again later.",
    }.get(answer.status, "The registry has trouble of its own: its log may tell more." if answer.status >= 500 else "")


def _short(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    short = " ".join(printable.split())
    return short if len(short) <= _LONGEST_MESSAGE else short[:_LONGEST_MESSAGE] + "…"


def _readable(content: bytes) -> str:
    """A body that is no registry's: the text of an HTML page, else as it is."""
    # A body may be all the 16 MiB of a manifest that is none; what is shown of it stands at its beginning.
    text = content[:_LONGEST_BODY].decode(errors="replace")
    if "<html" not in text[:1000].lower():
        return text
    _, opening, behind = text.partition("<title>")
    title, closing, _ = behind.partition("</title>")
    # Tags are closed by the next `>`; one that is not closed is text, and need not be looked at more than once.
    return title if opening and closing else re.sub(r"<[^<>]*>", " ", text)


def next_page(answer: Answer) -> str:
    """The address of a list's next page, "" where this is the last (RFC 8288; distribution-spec, "Listing Referrers").

    Raises RegistryError for one that is no address.
    """
    found = _NEXT_PAGE.search(answer.headers.get("Link", "")[:_LONGEST_HEADER])
    try:
        return urllib.parse.urljoin(answer.url, found[1]) if found else ""
    except ValueError as error:
        raise RegistryError(
            f"{redact_url(answer.url)} names a next page that is no address: {error}",
            hint="The registry, or a proxy before it, sends a malformed Link header.",
            status=answer.status,
        ) from error


def media_type_of(answer: Answer) -> str:
    """The Content-Type of an answer without parameters; the document's own `mediaType` where that says little."""
    declared = header_text(answer.headers, "Content-Type")
    if declared.startswith("application/vnd."):
        return declared
    try:
        document = parse_json(answer.content)
    except ValueError:
        return declared
    found = document.get("mediaType") if isinstance(document, dict) else None
    return found if isinstance(found, str) else declared
