"""Programs are started where that is wanted, and what they say is held against what is right."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from builder.errors import BuilderError, EngineError
from builder.oci.reference import Hub, ImageReference, Platform
from builder.verify.findings import Finding
from builder.verify.look import Looker, PlatformLook
from builder.verify.puller import Puller
from builder.verify.start import CannotStart, Started, Starter, start_platform, with_fallback
from tests.samples.hubs import PATH, SampleHub, both
from tests.samples.images import AMD64, ARM64

VERSIONS = ("1.29.0",)


def look(**changes: Any) -> tuple[ImageReference, PlatformLook]:  # noqa: ANN401 - fields of the value
    hub = SampleHub(Hub.parse("docker.io/me").repository("pilot"))
    reference = both(hub, *(hub.pilot(platform, **changes) for platform in (AMD64, ARM64)))
    root = hub.registry.get_manifest(reference)
    assert root
    return reference, Looker(reference, root, Puller(hub.registry)).look((AMD64,)).platforms[0]


class Asked:
    """A starter that keeps what it was asked for."""

    def __init__(self, answer: Callable[[], str]) -> None:
        self.argvs: list[tuple[str, ...]] = []
        self._answer = answer

    def __call__(self, image: ImageReference, platform: Platform, argv: tuple[str, ...]) -> str:
        self.argvs.append(argv)
        assert image.digest, "what was looked at is started, whatever the tag is by now"
        return self._answer()


def fail(error: Exception) -> Callable[[], str]:
    def answer() -> str:
        raise error

    return answer


def start(
    starter: Starter,
    versions: tuple[str, ...] = VERSIONS,
    **changes: Any,  # noqa: ANN401 - fields of the value
) -> Sequence[Finding | Started]:
    return list(start_platform(*look(**changes), starter, versions))


def test_a_program_that_says_the_right_version() -> None:
    asked = Asked(lambda: 'version.BuildInfo{Version:"1.29.0"}\n')
    (started,) = start(asked)
    assert isinstance(started, Started)
    assert (started.argv, started.output) == ((PATH, "version"), 'version.BuildInfo{Version:"1.29.0"}')


def test_a_program_that_says_another_version() -> None:
    started, finding = start(Asked(lambda: "1.28.0"))
    assert isinstance(finding, Finding)
    assert finding.kind == "wrong-version"
    assert isinstance(started, Started)


@pytest.mark.parametrize(
    ("error", "versions", "kind"),
    [
        (EngineError("exec /usr/local/bin/pilot-discovery: exec format error"), VERSIONS, "does-not-start"),
        (BuilderError("it ended with status 2"), VERSIONS, "does-not-start"),
        # Nobody says that any image has a version to tell, but it has to be able to run.
        (BuilderError("it ended with status 2"), (), "not-started"),
        (EngineError("exec format error"), (), "does-not-start"),
        (CannotStart("no engine"), VERSIONS, "not-started"),
    ],
)
def test_a_program_that_fails(error: Exception, versions: tuple[str, ...], kind: str) -> None:
    (finding,) = start(Asked(fail(error)), versions)
    assert isinstance(finding, Finding)
    assert finding.kind == kind


def test_istioctl_is_not_to_ask_a_cluster() -> None:
    asked = Asked(lambda: "client version: 1.29.0")
    start(asked, entrypoint=("/usr/local/bin/istioctl",))
    assert asked.argvs == [("/usr/local/bin/istioctl", "version", "--remote=false")]


def test_a_shell_has_nothing_to_say() -> None:
    asked = Asked(lambda: "")
    assert start(asked, entrypoint=(), command=("/bin/bash",)) == []
    assert start(asked, entrypoint=(), command=()) == []
    assert asked.argvs == []


def test_a_command_is_started_where_there_is_no_entrypoint() -> None:
    asked = Asked(lambda: "1.29.0")
    start(asked, entrypoint=(), command=("/usr/local/bin/install-cni",))
    assert asked.argvs == [("/usr/local/bin/install-cni", "version")]


def test_where_the_first_cannot_the_second_does() -> None:
    second = Asked(lambda: "1.29.0")
    assert with_fallback(Asked(fail(CannotStart("no engine"))), second)(*arguments()) == "1.29.0"
    assert second.argvs == [(PATH, "version")]


def test_what_failed_is_not_tried_elsewhere() -> None:
    second = Asked(lambda: "1.29.0")
    with pytest.raises(EngineError):
        with_fallback(Asked(fail(EngineError("it crashed"))), second)(*arguments())
    assert second.argvs == []


def arguments() -> tuple[ImageReference, Platform, tuple[str, ...]]:
    found = look()[1]
    return found.reference, AMD64, (PATH, "version")
