"""The `go build` that a plan holds: the recipe's flags, the user's, a debugger's; and the environment that decides bytes."""

from typing import Any

import pytest

from builder.config.request import GoRequest
from builder.errors import ToolchainError
from builder.plan.lock import LockedGo
from builder.plan.model import CompileStep
from builder.plan.planner import make_plan
from tests.samples.images import AMD64
from tests.samples.plans import load_book, make_lock, make_request, make_sample_plan, make_source

BOOK = load_book()


def step(go_version: str = "1.26.0", **wishes: Any) -> CompileStep:  # noqa: ANN401 - fields of the request
    request = make_request(images=("pilot",), platforms=(AMD64,), go=GoRequest(**wishes))
    [only] = make_plan(request, BOOK, make_lock(go=LockedGo(version=go_version))).compiles
    return only


def ldflags(found: CompileStep) -> list[str]:
    return " ".join(found.command.ldflags).split()


class TestFlags:
    def test_of_the_user_come_behind_the_recipes(self) -> None:
        assert step(flags=("-v", "-gcflags=-S")).command.options[:4] == ("-trimpath", "-v", "-gcflags=-S", "-ldflags")

    def test_of_the_linker_are_added_and_leave_the_stamp(self) -> None:
        before, after = ldflags(step()), ldflags(step(flags=("-ldflags=-checklinkname=0", "-v")))
        assert after == [*before, "-checklinkname=0"]

    def test_build_tags_are_added_once(self) -> None:
        command = step(flags=("-tags=requirefips,vtprotobuf",)).command
        assert command.options[-1] == "-tags=vtprotobuf,disable_pgv,requirefips"

    def test_change_the_fingerprint(self) -> None:
        prints = {
            make_sample_plan(go=wish).images[0].fingerprint
            for wish in (GoRequest(), GoRequest(flags=("-v",)), GoRequest(debug=True), GoRequest(env=(("GOAMD64", "v3"),)))
        }
        assert len(prints) == 4


class TestDebug:
    def test_is_what_istio_does_with_DEBUG_1(self) -> None:
        found = step(debug=True)
        assert found.command.options[:3] == ("-gcflags", "all=-N -l", "-ldflags")
        assert "-trimpath" not in found.command.options
        assert set(ldflags(found)) & {"-s", "-w", "-extldflags", "-static"} == set()
        assert "istio.io/istio/pkg/version.buildVersion=1.29.0" in ldflags(found)


class TestEnvironment:
    def test_of_the_user_wins(self) -> None:
        env = dict(step(env=(("GOAMD64", "v3"), ("GOFIPS140", "v1.0.0"))).env)
        assert (env["GOAMD64"], env["GOFIPS140"]) == ("v3", "v1.0.0")
        assert "CC" not in env

    def test_fips_that_go_would_leave_out_in_silence_is_refused(self) -> None:
        request = make_request(go=GoRequest(env=(("GOFIPS140", "v1.0.0"),)))
        with pytest.raises(ToolchainError, match=r"GOFIPS140=v1\.0\.0 needs Go 1\.24"):
            make_plan(request, BOOK, make_lock(make_source(go_directive="1.23"), go=LockedGo(version="1.23.4")))

    @pytest.mark.parametrize(
        ("env", "compiler"),
        [
            ((("CGO_ENABLED", "1"),), "x86_64-linux-gnu-gcc"),
            ((("CC_linux_amd64", "musl-gcc"), ("CGO_ENABLED", "1")), "musl-gcc"),
        ],
    )
    def test_cgo_has_a_c_compiler_for_each_platform(self, env: tuple[tuple[str, str], ...], compiler: str) -> None:
        found = dict(step(env=env).env)
        assert found["CC"] == compiler
        assert "CC_linux_amd64" not in found
