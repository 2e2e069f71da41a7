"""Files of the user's own that take the place of an artifact, and the checksums that are published beside files."""

import re
from pathlib import Path

from builder.config.request import ArtifactOverride
from builder.errors import ArtifactError, ChecksumError, RequestError
from builder.oci.reference import redact_url
from builder.plan.lock import FileArtifact, UrlArtifact
from builder.ports import Downloader
from builder.runtime.atomic_file import sum_file

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_ARCHIVES = (".tar.gz", ".tgz")


def place_of(override: ArtifactOverride) -> str:
    """What is asked for, without a path or a credential: `file`, or the URL, with the sum that is promised."""
    location, mark, promised = override.location.partition("#sha256=")
    return f"{redact_url(location) if '://' in location else 'file'}{mark}{promised.lower()}"


def lock_override(override: ArtifactOverride, member: str, downloader: Downloader) -> FileArtifact | UrlArtifact:
    """A file is summed; a URL has its sum as `#sha256=…` or in a file beside it."""
    location, separator, promised = override.location.partition("#sha256=")
    what = f"{override.artifact} for {override.platform}"
    if separator and not SHA256.fullmatch(promised):
        raise RequestError(f"{what}: {promised!r} is no sha256", hint="Write it as #sha256=<64 hex digits>.")
    name, platform = override.artifact, override.platform
    if "://" in location:
        sha256 = (promised or _published_sum(override, location, downloader)).lower()
        own_member = member if is_archive(location) else ""
        return UrlArtifact(name=name, platform=platform, url=location, sha256=sha256, member=own_member)
    path = _expand(Path(location))
    if not path.is_file():
        raise ArtifactError(f"{what}: there is no file {path}", hint=f"--{override.artifact} names a file or a URL.")
    sha256 = sum_file(path)
    if promised and promised.lower() != sha256:
        raise ChecksumError(f"{path} is not what it should be: its sha256 is {sha256}, not {promised.lower()}")
    whole = str(path.resolve())
    own_member = member if is_archive(whole) else ""
    return FileArtifact(name=name, platform=platform, path=whole, sha256=sha256, member=own_member)


def _expand(path: Path) -> Path:
    """With `~` and `~NAME` as in a shell; as it stands where there is no such user, or no home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def is_archive(location: str) -> bool:
    """Whether the file is an archive that holds what is wanted."""
    return location.partition("?")[0].endswith(_ARCHIVES)


def _published_sum(override: ArtifactOverride, url: str, downloader: Downloader) -> str:
    """Beside `envoy.tar.gz?token=…` lies `envoy.tar.gz.sha256?token=…`, or, as at Istio's own place, `envoy.sha256`."""
    path, mark, query = url.partition("?")
    stem = path.removesuffix(".tar.gz").removesuffix(".tgz")
    for candidate in dict.fromkeys((f"{path}.sha256{mark}{query}", f"{stem}.sha256{mark}{query}")):
        text = downloader.read_text(candidate)
        if text is not None:
            return first_field(text, candidate)
    raise ArtifactError(
        f"{override.artifact} for {override.platform}: no checksum is published beside {redact_url(url)}",
        hint=f"Say what it must be: --{override.artifact} '{override.platform}={redact_url(url)}#sha256=<64 hex digits>'.",
    )


def first_field(text: str, url: str) -> str:
    """The sum: Istio's checksum files go on with a path on the builder's machine, so only the first field counts."""
    fields = text.split()
    if not fields or not SHA256.fullmatch(fields[0]):
        raise ArtifactError(
            f"{redact_url(url)} does not hold a sha256 checksum", hint="Does the mirror answer with a page of its own?"
        )
    return fields[0].lower()
