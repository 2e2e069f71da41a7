"""What a project file names beside itself, for where only its text goes: patches, recipes, the lock."""

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

from builder.config.settings import Job
from builder.errors import RequestError
from builder.runtime.regular_file import read_regular
from builder.schedule.nightly_job import ProjectPart

# A ConfigMap holds at most 1 MiB (https://kubernetes.io/docs/concepts/configuration/configmap/), base64 and all.
_LARGEST = 960 << 10
# Where the claim is in the pod.
_KEPT = Path("/cache")
# Of a URL its user, which may be a token by itself, and what a signed one has behind the question mark.
_CREDENTIALS = re.compile(
    r"https?://[^/\s\"']*@|https?://[^\s\"']*[?&][\w-]*(token|sig|key|secret|password)[\w-]*=", re.IGNORECASE
)


def read_parts(project: Path, job: Job) -> tuple[ProjectPart, ...]:
    """The project file, and with it all that it names and that lies beside it. Raises RequestError for what cannot go along."""
    _refuse_what_stays_here(project, job)
    paths = [project, *(path for place in job.patches for path in _files(place, "*.patch"))]
    paths += [path for place in job.recipes for pattern in ("**/*.yaml", "**/*.j2") for path in _files(place, pattern)]
    paths += [job.lock] if job.locked else []
    parts = tuple(_read(path, project.parent) for path in dict.fromkeys(paths))
    for part in parts:
        if part.path.endswith((".yaml", ".lock")):
            refuse_credentials(part.text, part.path)
    size = sum(len(part.text) for part in parts)
    if size > _LARGEST:
        raise RequestError(
            f"{project} and what it names are {size >> 10} KiB, and a ConfigMap holds no more than {_LARGEST >> 10}",
            hint="Put them into an image of your own, on top of the one with istio-build, and mount no ConfigMap.",
        )
    clashing = {part.key for part in parts if sum(part.key == other.key for other in parts) > 1}
    if clashing:
        raise RequestError(f"two files would both be {min(clashing)} in the ConfigMap", hint="Rename one of them.")
    return parts


def refuse_credentials(text: str, origin: str) -> None:
    """A schedule lies where others read it. Raises RequestError where a text that would stand in it has a URL with a password."""
    if _CREDENTIALS.search(text):
        raise RequestError(
            f"{origin} holds a URL with credentials, and a schedule must not",
            hint="Give the job that setting as a variable, from a secret: ISTIO_BUILD_GIT_URL, ISTIO_BUILD_ENVOY_URL and so on.",
        )


def _refuse_what_stays_here(project: Path, job: Job) -> None:
    if job.source.directory is not None:
        raise RequestError(
            f"{project} names a checkout, and a CronJob has none", hint="Name a release: `istio`, and `git_url` for a fork."
        )
    # A directory was made absolute when it was read.
    if job.source.url.startswith("/"):
        raise RequestError(
            f"{project}: `git_url` is a directory of this machine, and a CronJob has none", hint="Name the URL of a git server."
        )
    for override in job.request.artifact_overrides:
        if "://" not in override.location:
            raise RequestError(
                f"{project}: {override.artifact} for {override.platform} is a file of this machine",
                hint="Put it behind a URL, or into an image (`envoy_image`).",
            )
    for name, place in (("report", job.outputs.report), ("trace", job.outputs.trace), ("metrics", job.outputs.metrics)):
        if place and not place.is_relative_to(_KEPT):
            raise RequestError(
                f"{project}: `{name}` goes to {place}, where a CronJob cannot write",
                hint=f"Name a place below {_KEPT}, which is what is kept between nights.",
            )


def _files(place: Path, pattern: str) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(path for path in place.glob(pattern) if path.is_file() and not path.name.startswith("."))
    else:
        yield place


def _read(path: Path, beside: Path) -> ProjectPart:
    try:
        # A link may lead elsewhere: what counts is where it is named.
        relative = Path(os.path.abspath(path)).relative_to(os.path.abspath(beside))
        content = read_regular(path, _LARGEST)
    except ValueError as error:
        raise RequestError(
            f"{path} does not lie beside the project file, in {beside}", hint="A ConfigMap takes along what does."
        ) from error
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}", hint="The project file names it.") from error
    try:
        return ProjectPart(path=str(relative), kind="data", text=content.decode("utf-8"))
    except UnicodeDecodeError:
        return ProjectPart(path=str(relative), kind="binaryData", text=base64.b64encode(content).decode("ascii"))
