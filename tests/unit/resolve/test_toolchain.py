"""Which Go is chosen for a release, why, and what is said where it cannot be had."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.config.go_version import is_minor_line, is_version, last_patch, version_key
from builder.errors import ToolchainError
from builder.ports import GoToolchain, GoUnavailable
from builder.recipe.schema import Go
from builder.resolve.toolchain import ChosenGo, choose_go
from tests.samples.plans import load_book

RECIPE = load_book().release.go
SERVED = ("1.16", "1.16.1", "1.16.15", "1.21rc2", "1.21.0", "1.21.9", "1.21.13", "1.25.0", "1.26.8", "1.27.4", "1.28rc1")


@dataclass
class FakeToolchains:
    """Implements `ports.GoToolchains`; `refusal` is why nothing can be had."""

    machine: str = "1.26.8"
    served: Sequence[str] = SERVED
    refusal: str = ""
    asked: list[str] = field(default_factory=list)

    def installed(self) -> GoToolchain:
        return GoToolchain(program=Path("/usr/local/go/bin/go"), version=self.machine, settings=())

    def versions(self) -> tuple[str, ...]:
        return tuple(self._answer("versions", self.served))

    def fetch(self, version: str) -> GoToolchain:
        if version not in self._answer(version, self.served):
            raise GoUnavailable(f"download go{version}: 403 Forbidden")
        return GoToolchain(program=Path(f"/modules/go{version}/bin/go"), version=version, settings=())

    def _answer(self, question: str, answer: Sequence[str]) -> Sequence[str]:
        self.asked.append(question)
        if self.refusal:
            raise GoUnavailable(self.refusal)
        return answer


def choose(
    wish: str, directive: str, toolchains: FakeToolchains | None = None, recipe: Go = RECIPE
) -> tuple[ChosenGo, list[str]]:
    warnings: list[str] = []
    return choose_go(wish, directive, recipe, toolchains or FakeToolchains(), warnings.append), warnings


class TestChoice:
    @pytest.mark.parametrize(
        ("wish", "directive", "version", "reason"),
        [
            ("release", "1.25.0", "1.25.0", "go.mod says 1.25.0"),
            ("release", "1.26.8", "1.26.8", "go.mod says 1.26.8"),
            ("release", "1.28rc1", "1.28rc1", "go.mod says 1.28rc1"),
            ("release", "1.16", "1.16.15", "last patch of 1.16, which go.mod says"),
            ("release", "1.21", "1.21.13", "last patch of 1.21, which go.mod says"),
            ("machine", "1.25.0", "1.26.8", "this machine's: --go machine"),
            ("newest", "1.25.0", "1.27.4", "the newest: --go newest"),
            ("1.21.9", "1.21", "1.21.9", "--go 1.21.9"),
            ("1.21", "1.21", "1.21.13", "last patch of 1.21: --go 1.21"),
        ],
    )
    def test_of_which_and_why(self, wish: str, directive: str, version: str, reason: str) -> None:
        chosen, warnings = choose(wish, directive)
        assert (chosen.toolchain.version, chosen.reason, warnings) == (version, reason, [])

    def test_the_machines_own_is_taken_where_it_is_the_right_one(self) -> None:
        toolchains = FakeToolchains(machine="1.25.0")
        chosen, _ = choose("release", "1.25.0", toolchains)
        assert chosen.toolchain == toolchains.installed()
        assert toolchains.asked == []

    def test_what_is_served_is_not_asked_for_where_a_patch_is_named(self) -> None:
        toolchains = FakeToolchains()
        choose("release", "1.25.0", toolchains)
        assert toolchains.asked == ["1.25.0"]


class TestTooOld:
    @pytest.mark.parametrize(
        ("wish", "directive"),
        [("1.21", "1.25.0"), ("1.24.9", "1.25.0"), ("1.25.0", "1.25.1"), ("1.20.1", "1.21"), ("1.24", "1.26")],
    )
    def test_one_older_than_go_mod_wants_is_refused_before_anything_is_asked_for(self, wish: str, directive: str) -> None:
        toolchains = FakeToolchains()
        with pytest.raises(ToolchainError, match=f"--go {wish} is older than the Go {directive} that go.mod wants"):
            choose(wish, directive, toolchains)
        assert toolchains.asked == []

    def test_so_is_the_machines(self) -> None:
        with pytest.raises(ToolchainError, match=r"this machine's Go 1\.24\.1 is older than the Go 1\.25\.0"):
            choose("machine", "1.25.0", FakeToolchains(machine="1.24.1"))

    @pytest.mark.parametrize(("wish", "directive"), [("1.25", "1.25.7"), ("1.19.1", "1.20"), ("1.16.15", "1.17")])
    def test_a_line_whose_last_patch_may_do_is_not_and_nor_is_any_for_a_source_from_before_go_1_21(
        self, wish: str, directive: str
    ) -> None:
        toolchains = FakeToolchains()
        with contextlib.suppress(ToolchainError):
            choose(wish, directive, toolchains)
        assert toolchains.asked


class TestWhereItCannotBeHad:
    def test_the_machines_go_takes_its_place_and_that_is_told(self) -> None:
        chosen, [warning] = choose("release", "1.25.0", FakeToolchains(refusal="dial tcp: no route to host"))
        assert (chosen.toolchain.version, chosen.reason) == ("1.26.8", "this machine's: Go 1.25.0 cannot be had")
        assert "Go 1.25.0 cannot be had: dial tcp: no route to host. Compiling with this machine's Go 1.26.8." in warning

    def test_one_too_old_for_the_source_does_not(self) -> None:
        with pytest.raises(ToolchainError, match=r"1\.25\.0 cannot be had \(no route\).*Go 1\.24\.1 is older than the 1\.25\.0"):
            choose("release", "1.25.0", FakeToolchains(machine="1.24.1", refusal="no route"))

    @pytest.mark.parametrize("wish", ["1.25.99", "1.19"])
    def test_one_that_was_asked_for_by_name_is_an_error(self, wish: str) -> None:
        with pytest.raises(ToolchainError, match=f"Go {wish} cannot be had: ") as raised:
            choose(wish, "1.16")
        assert "--go machine" in raised.value.hint

    def test_without_the_checksum_database_the_way_out_is_told(self) -> None:
        _, [warning] = choose("release", "1.25.0", FakeToolchains(refusal="checksum database disabled by GOSUMDB=off"))
        assert "leave GOSUMDB at its default" in warning

    @pytest.mark.parametrize("cause", ["module lookup disabled by GOPROXY=off", "download go1.25.0: toolchain not available"])
    def test_without_a_proxy_that_has_it_the_way_out_is_told(self, cause: str) -> None:
        _, [warning] = choose("release", "1.25.0", FakeToolchains(refusal=cause))
        assert "Let GOPROXY name a proxy that serves golang.org/toolchain" in warning

    def test_a_go_before_1_21_cannot_switch_and_is_not_asked_to(self) -> None:
        toolchains = FakeToolchains(machine="1.20.14")
        chosen, [warning] = choose("release", "1.16", toolchains)
        assert (chosen.toolchain.version, toolchains.asked) == ("1.20.14", [])
        assert "Go 1.20.14 cannot fetch others, as Go 1.21 and newer do" in warning


class TestTooNew:
    RECIPE = RECIPE.model_copy(update={"too_new": "1.23", "too_new_sign": "link: invalid reference"})

    @pytest.mark.parametrize(("wish", "warned"), [("machine", True), ("newest", True), ("release", False), ("1.21.9", False)])
    def test_a_go_known_not_to_build_it_is_warned_of(self, wish: str, warned: bool) -> None:
        _, warnings = choose(wish, "1.16", recipe=self.RECIPE)
        assert bool(warnings) == warned
        assert all("not to build with Go 1.23 or newer" in text and "`link: invalid reference`" in text for text in warnings)

    def test_a_go_in_place_of_the_right_one_is_warned_of_too(self) -> None:
        _, warnings = choose("release", "1.16", FakeToolchains(refusal="no route"), self.RECIPE)
        assert len(warnings) == 2


class TestVersions:
    def test_are_compared_as_numbers(self) -> None:
        versions = ["1.9", "1.10.1", "1.10", "2.0"]
        assert sorted(versions, key=version_key) == ["1.9", "1.10", "1.10.1", "2.0"]

    def test_a_line_is_no_version_with_a_patch(self) -> None:
        assert [is_minor_line(text) for text in ("1.25", "1.25.0", "1.26rc1")] == [True, False, False]
        assert [is_version(text) for text in ("1.25", "1.25.0", "1.26rc1", "1", "x1.2", "1.2.3.4")] == [True] * 3 + [False] * 3

    def test_the_last_patch_is_a_stable_one(self) -> None:
        assert last_patch(["1.26.9", "1.26.10", "1.26rc1", "1.27rc1"]) == "1.26.10"
        assert last_patch(["1.2.1", "1.20.3"], "1.2") == "1.2.1"
        assert last_patch(["1.27rc1"], "1.27") == ""
