"""Starts what an image is for, and asks it for its version."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from builder.errors import BuilderError
from builder.oci.reference import ImageReference, Platform
from builder.verify.findings import Finding
from builder.verify.look import PlatformLook

_NOT_RUNNABLE = "exec format error"
_LONGEST = 300
# istioctl would ask a cluster for its version, too.
_QUESTIONS = {"istioctl": ("version", "--remote=false"), "envoy": ("--version",)}
_QUESTION = ("version",)
# What the commands of base images are: nothing that has a version to tell in this way.
_SHELLS = ("sh", "bash", "dash", "ash")


class CannotStart(Exception):
    """Nothing here can start this, whatever is in the image; the text says why."""


class Starter(Protocol):
    """Starts a program of an image on a platform."""

    def __call__(self, image: ImageReference, platform: Platform, argv: tuple[str, ...]) -> str:
        """What it printed. Raises BuilderError where it failed, CannotStart where it cannot be tried here."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A program that was started, and what it printed first."""

    reference: ImageReference
    platform: Platform
    argv: tuple[str, ...]
    output: str


def start_platform(
    reference: ImageReference, look: PlatformLook, start: Starter, versions: tuple[str, ...]
) -> Iterator[Finding | Started]:
    """Start the program of an image's entrypoint, and hold what it prints against the right versions, if any are known."""
    program = next(iter((*look.config.entrypoint, *look.config.command)), "")
    name = program.rpartition("/")[2]
    if not program or name in _SHELLS:
        return
    argv = (program, *_QUESTIONS.get(name, _QUESTION))

    def finding(kind: str, message: str) -> Finding:
        return Finding(kind=kind, reference=reference, platform=str(look.platform), message=message, paths=(program,))

    try:
        output = start(look.reference, look.platform, argv)
    except CannotStart as error:
        yield finding("not-started", f"{' '.join(argv)}: {error}")
        return
    except BuilderError as error:
        # Of an image that no recipe knows, nobody says that it has a version to tell.
        certain = bool(versions) or _NOT_RUNNABLE in error.message
        yield finding("does-not-start" if certain else "not-started", f"{' '.join(argv)}: {error.message[-_LONGEST:]}")
        return
    yield Started(reference=reference, platform=look.platform, argv=argv, output=output.strip()[:_LONGEST])
    if versions and not any(version in output for version in versions):
        yield finding("wrong-version", f"{' '.join(argv)} says {output.strip()[:80]!r}, not {' or '.join(versions)}")


def with_fallback(first: Starter, second: Starter) -> Starter:
    """The first, and where that cannot, the second."""

    def start(image: ImageReference, platform: Platform, argv: tuple[str, ...]) -> str:
        try:
            return first(image, platform, argv)
        except CannotStart:
            return second(image, platform, argv)

    return start
