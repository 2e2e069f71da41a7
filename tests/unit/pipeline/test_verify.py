"""What is asked for becomes references to look at; programs are started by whoever can."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.config.merged import Given
from builder.config.settings import Job, make_job
from builder.errors import BuilderError, EngineError, RequestError
from builder.oci.reference import Hub, ImageReference, Platform
from builder.pipeline.start_programs import DockerStarter, ExtractedStarter, native_platform
from builder.pipeline.verify import VerifyRequest, plan_verification
from builder.ports import Completed, ProcessFailed
from builder.runtime.progress import Progress
from builder.verify.start import CannotStart
from tests.fakes.runner import Call, FakeRunner
from tests.samples.hubs import PATH, PILOT, SampleHub
from tests.samples.images import AMD64, ARM64, SampleFile
from tests.samples.programs import make_go_program


def job(**words: tuple[str, ...]) -> Job:
    given = {name: Given(words=value, origin=f"--{name}") for name, value in words.items()}
    if "istio" not in given:
        given["source"] = Given(words=(".",), origin="no source")
    return make_job(given, None, needs_hub=False)


def references(request: VerifyRequest, **words: tuple[str, ...]) -> list[str]:
    return [str(wanted.reference) for wanted in plan_verification(job(**words), request).wanted]


def test_bare_references_are_looked_at_as_they_are() -> None:
    plan = plan_verification(job(), VerifyRequest(references=("ghcr.io/me/tool:2", "ubuntu")))
    assert [str(wanted.reference) for wanted in plan.wanted] == ["ghcr.io/me/tool:2", "docker.io/library/ubuntu:latest"]
    assert {(wanted.expected, wanted.original, wanted.platforms) for wanted in plan.wanted} == {(None, None, (AMD64, ARM64))}


def test_where_istio_build_notes_what_it_did_is_no_image() -> None:
    plan = plan_verification(job(), VerifyRequest(references=("ghcr.io/me/pilot:1", "ghcr.io/me/pilot:istio-build-history")))
    assert [str(wanted.reference) for wanted in plan.wanted] == ["ghcr.io/me/pilot:1"]
    assert plan.notes == ("ghcr.io/me/pilot:istio-build-history is no image: istio-build notes there what it did",)


def test_every_hub_is_held_against_the_release() -> None:
    words = {"hub": ("docker.io/me", "ghcr.io/me"), "istio": ("1.29.0",), "image": ("pilot",), "variant": ("distroless",)}
    assert references(VerifyRequest(), **words) == ["docker.io/me/pilot:1.29.0-distroless", "ghcr.io/me/pilot:1.29.0-distroless"]


def test_the_release_may_stand_in_the_tag() -> None:
    words = {"hub": ("docker.io/me",), "tag": ("1.29.0-corp.1",), "image": ("pilot",), "variant": ("debug",)}
    plan = plan_verification(job(**words), VerifyRequest())
    assert plan.release == "1.29.0"
    assert [str(wanted.reference) for wanted in plan.wanted] == [
        "docker.io/me/pilot:1.29.0-corp.1",
        "docker.io/me/pilot:1.29.0-corp.1-debug",
    ]
    # Istio's own has its own tag.
    assert {str(wanted.original) for wanted in plan.wanted} == {"docker.io/istio/pilot:1.29.0-debug"}


@pytest.mark.parametrize(
    ("compare_with", "hub", "original"),
    [
        ("", "docker.io/me", "docker.io/istio/pilot:1.29.0-debug"),
        ("mirror.corp.example/istio", "docker.io/me", "mirror.corp.example/istio/pilot:1.29.0-debug"),
        ("none", "docker.io/me", "None"),
        # Istio's own hub is not compared with itself.
        ("", "docker.io/istio", "None"),
    ],
)
def test_what_it_is_compared_with(compare_with: str, hub: str, original: str) -> None:
    words = {"hub": (hub,), "istio": ("1.29.0",), "image": ("pilot",), "variant": ("debug",)}
    plan = plan_verification(job(**words), VerifyRequest(compare_with=compare_with))
    assert {str(wanted.original) for wanted in plan.wanted} == {original}


def test_a_platform_that_nobody_publishes_is_not_wanted_unless_it_is_named() -> None:
    words = {"hub": ("docker.io/me",), "istio": ("1.14.0",), "image": ("proxyv2",), "variant": ("debug",)}
    plan = plan_verification(job(**words), VerifyRequest())
    assert {wanted.platforms for wanted in plan.wanted} == {(AMD64,)}
    assert plan.notes == ("proxyv2 is not looked for on linux/arm64: nobody publishes all of it for Istio 1.14.0",)
    named = plan_verification(job(**words, platform=("linux/arm64",)), VerifyRequest())
    assert {wanted.platforms for wanted in named.wanted} == {(ARM64,)}
    assert named.notes == ()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({}, "nothing to verify"),
        ({"hub": ("docker.io/me",)}, "which release"),
        ({"hub": ("docker.io/me",), "tag": ("latest",)}, "which release"),
    ],
)
def test_what_is_missing_is_told(words: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        plan_verification(job(**words), VerifyRequest())


class FakeContainers:
    """An engine that answers as it is told to."""

    def __init__(self, answer: Callable[[], str], *, is_up: bool = True) -> None:
        self._answer = answer
        self._is_up = is_up
        self.pings = 0
        self.ran: list[tuple[str, str, tuple[str, ...]]] = []

    def ping(self) -> None:
        self.pings += 1
        if not self._is_up:
            raise EngineError("no Docker engine answers")

    def run(self, reference: str, platform: Platform, command: tuple[str, ...], entrypoint: str = "") -> str:
        self.ran.append((reference, entrypoint, command))
        return self._answer()


def raising(error: Exception) -> Callable[[], str]:
    def answer() -> str:
        raise error

    return answer


REPOSITORY = Hub.parse("docker.io/me").repository("pilot")
FOREIGN = ARM64 if native_platform() == AMD64 else AMD64


def pushed(program: bytes) -> tuple[SampleHub, ImageReference]:
    hub = SampleHub(REPOSITORY)
    layer = hub.layer(SampleFile(path=PATH, content=program))
    image = hub.image(PILOT, layer)
    return hub, hub.repository.at(image.digest)


def test_an_engine_runs_what_was_looked_at() -> None:
    hub = SampleHub(REPOSITORY)
    image = hub.repository.at(hub.pilot(AMD64).digest)
    engine = FakeContainers(lambda: "1.29.0")
    assert DockerStarter(engine)(image, AMD64, (PATH, "version")) == "1.29.0"
    assert engine.ran == [(f"docker.io/me/pilot@{image.digest}", PATH, ("version",))]


def test_an_engine_that_does_not_answer_is_asked_once() -> None:
    engine = FakeContainers(lambda: "", is_up=False)
    start, (_, image) = DockerStarter(engine), pushed(b"")
    for _ in range(3):
        with pytest.raises(CannotStart, match="no Docker engine answers"):
            start(image, AMD64, (PATH, "version"))
    assert engine.pings == 1
    assert engine.ran == []


def test_an_engine_that_cannot_emulate_says_nothing_of_the_image() -> None:
    engine = FakeContainers(raising(EngineError("exec /a: exec format error")))
    _, image = pushed(b"")
    with pytest.raises(CannotStart, match="install qemu-user-static"):
        DockerStarter(engine)(image, FOREIGN, (PATH,))
    with pytest.raises(EngineError, match="exec format error"):
        DockerStarter(engine)(image, native_platform(), (PATH,))


def extracted(runner: FakeRunner, hub: SampleHub, scratch: Path) -> ExtractedStarter:
    return ExtractedStarter(hub.registry, runner, scratch, Progress(lambda event: None))


def test_without_an_engine_a_static_go_program_is_taken_out(tmp_path: Path) -> None:
    program = make_go_program("amd64", settings=(("CGO_ENABLED", "0"),))
    hub, image = pushed(program)

    def answer(call: Call) -> Completed:
        assert Path(call.argv[0]).read_bytes() == program
        assert Path(call.argv[0]).stat().st_mode & 0o111
        assert call.cwd
        assert list(call.cwd.iterdir()) == []
        assert set(call.env) == {"HOME"}
        return Completed(stdout="1.29.0\n", stderr="")

    runner = FakeRunner(answer)
    assert extracted(runner, hub, tmp_path)(image, native_platform(), (PATH, "version")) == "1.29.0\n"
    assert [call.argv[1:] for call in runner.calls] == [("version",)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", [b"#!/bin/sh\n", make_go_program("amd64", settings=(("CGO_ENABLED", "1"),)), b""])
def test_what_needs_its_image_is_not_started_without_it(program: bytes, tmp_path: Path) -> None:
    hub, image = pushed(program)
    runner = FakeRunner()
    with pytest.raises(CannotStart, match="no static Go program"):
        extracted(runner, hub, tmp_path)(image, native_platform(), (PATH,))
    assert runner.calls == []


def test_another_machine_is_not_tried_without_an_engine(tmp_path: Path) -> None:
    hub, image = pushed(make_go_program("arm64"))
    with pytest.raises(CannotStart, match="this machine is"):
        extracted(FakeRunner(), hub, tmp_path)(image, FOREIGN, (PATH,))


def test_a_program_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    hub, image = pushed(make_go_program("amd64"))

    def answer(call: Call) -> Completed:
        raise ProcessFailed(call.argv, 2, "", "panic: out of range\n")

    with pytest.raises(BuilderError, match="it ended with status 2: panic: out of range"):
        extracted(FakeRunner(answer), hub, tmp_path)(image, native_platform(), (PATH,))
