"""Every error a user can meet, as one tree; each class has an exit code of its own.

    BuilderError                    1   anything else
    ├── RequestError                2   a flag, variable or project file asks for what cannot be (as click's own errors)
    ├── RecipeError                 3   a recipe or template is wrong
    ├── SourceError                 4   the source cannot be fetched, is not Istio's, or lacks a file
    │   └── PatchError             22   a patch does not apply to the source, or would make what is no file
    ├── ToolchainError              5   no Go, or one too old
    ├── EngineError                 6   Docker or buildx is missing, too old, or cannot do what is asked
    ├── CompileError                7   `go build` failed
    ├── ArtifactError               8   a download failed
    │   └── ChecksumError           9   a download is not what it should be
    ├── BaseImageError             10   a base image is missing, or lacks a platform
    ├── AssembleError              11   buildx failed to build an image
    ├── CheckError                 12   a built image is not what the plan says
    ├── RegistryError              13   a registry answered with an error
    │   └── AccessDenied           14   a registry refused us (401, 403)
    ├── PublishError               15   tags could not be moved; says what was put back
    ├── VerifyError                16   what a puller would get is not what was pushed, or not what it should be
    ├── DiskFull                   17   no space left
    ├── PlatformLoss               18   a tag at the hub has a platform that this push lacks; nothing was done
    ├── NotReadBack                19   interrupted after all tags of a hub had moved: not read back, or others lack the release
    ├── CutOff                     21   ended at once after the first tag had moved; the next run puts that right
    ├── TakeOver                   26   a tag at the hub holds the clean build of a release, and this is none; nothing was done
    ├── TagKept                    27   a tag that must not move is at something else; nothing was done
    ├── JournalError               20   what an earlier run noted of the tags it moved cannot be read
    ├── LockError                  24   the lock lacks what is asked for, contradicts it, or cannot be read
    ├── NotReady                   30   `doctor` found that a run would fail
    ├── OfflineError               25   something is not in the cache, and --offline fetches nothing
    ├── ReleasesFailed             28   of several releases some failed, each for a reason of its own; the others are done
    └── Interrupted               130   Ctrl-C, or a signal

Errors are raised where they happen and printed in one place, `builder.cli.main`.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one image, on one platform, in a run that failed, at one hub (""; wherever it was to go).

    `state` is `built` here, `sent` (it is there, and no tag leads to it), `moved` (tags do now), `unchanged` or `failed`.
    """

    image: str
    platform: str
    state: str
    error: str = ""
    hub: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEnd:
    """What became of one release of several: `state` is `pushed`, `unchanged`, `failed`, or `skipped` where it was not begun.

    `exit_code`, `error` and `hint` are those of its own error, 0 and "" where it has none.
    """

    release: str
    state: str
    exit_code: int = 0
    error: str = ""
    hint: str = ""


class BuilderError(Exception):
    """What happened and where; `hint` says what to do next, `ledger` what became of each image, where some were made, and
    `releases` of each release, where there were several.

    Neither text may hold a credential: URLs are passed through `redact_url` by whoever builds the message.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.ledger: tuple[Outcome, ...] = ()
        self.releases: tuple[ReleaseEnd, ...] = ()


class RequestError(BuilderError):
    """What was asked for cannot be."""

    exit_code = 2


class RecipeError(BuilderError):
    """A recipe or a template is wrong; the message names file and line."""

    exit_code = 3


class SourceError(BuilderError):
    """The Istio source cannot be had, or is not Istio's."""

    exit_code = 4


class PatchError(SourceError):
    """A patch does not apply to the source, or would make what is no file; the message names it, file and hunk."""

    exit_code = 22


class ToolchainError(BuilderError):
    """There is no Go, or it cannot build this source."""

    exit_code = 5


class EngineError(BuilderError):
    """The Docker engine or buildx is missing, too old, or cannot do what is asked."""

    exit_code = 6


class CompileError(BuilderError):
    """`go build` failed, or what it made is for another platform."""

    exit_code = 7


class ArtifactError(BuilderError):
    """An artifact such as Envoy cannot be had."""

    exit_code = 8


class ChecksumError(ArtifactError):
    """An artifact is not the bytes its checksum promises."""

    exit_code = 9


class BaseImageError(BuilderError):
    """A base image is missing, or lacks a platform."""

    exit_code = 10


class AssembleError(BuilderError):
    """buildx failed to build an image. `output` is what the program printed that a RUN of it ended with."""

    exit_code = 11

    def __init__(self, message: str, *, hint: str = "", output: str = "") -> None:
        super().__init__(message, hint=hint)
        self.output = output


class CheckError(BuilderError):
    """A built image is not what the plan says; nothing has left the machine."""

    exit_code = 12


class RegistryError(BuilderError):
    """A registry answered with an error, or not at all.

    `status` is the HTTP status, 0 where there was no answer. `temporary` says that the same request may succeed later.
    `damaged`: there was one, but what came is not what its digest or its type promises.
    """

    exit_code = 13

    def __init__(self, message: str, *, hint: str = "", status: int = 0, temporary: bool = False, damaged: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.temporary = temporary
        self.damaged = damaged


class AccessDenied(RegistryError):
    """A registry refused us: wrong or missing credentials, or no right to do this."""

    exit_code = 14


class PublishError(BuilderError):
    """Tags could not be moved, or another run moves them; the message says which were put back."""

    exit_code = 15


class VerifyError(BuilderError):
    """What a puller would get is not what was pushed, or not what it should be."""

    exit_code = 16


class DiskFull(BuilderError):
    """A file system is full."""

    exit_code = 17


class PlatformLoss(BuilderError):
    """A tag at the hub holds a platform that what was to be pushed there lacks."""

    exit_code = 18


class NotReadBack(BuilderError):
    """The run was interrupted when all tags had moved already, at one hub at least: the release is there, but was not read back,
    or is not at the other hubs."""

    exit_code = 19


class JournalError(BuilderError):
    """The journal of an earlier run, here or at the hub, is damaged or of an unknown version; the message says where it is."""

    exit_code = 20


class CutOff(BuilderError):
    """The process was ended at once, without putting anything back, after the first tag had moved."""

    exit_code = 21


class LockError(BuilderError):
    """istio-build.lock cannot be read, or what is asked for is not what it binds; the message names its key."""

    exit_code = 24


class NotReady(BuilderError):
    """A run would fail, as `doctor` has found."""

    exit_code = 30


class OfflineError(BuilderError):
    """Something is needed that is not in the cache, and --offline fetches nothing."""

    exit_code = 25


class TakeOver(BuilderError):
    """A tag at the hub holds the clean build of a release, and what was to be pushed there is not that release's."""

    exit_code = 26


class TagKept(BuilderError):
    """A tag that exists, and must not move (`--no-clobber`, `--immutable`), is not at what was to be pushed there."""

    exit_code = 27


class ReleasesFailed(BuilderError):
    """Of several releases some failed; `releases` tells of each, with the code of its own error."""

    exit_code = 28


class Interrupted(BuilderError):
    """The user, or the system, asked us to stop; no tag is where this run put it."""

    exit_code = 130
