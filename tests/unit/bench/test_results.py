"""Medians, ratios and aims."""

import json

import pytest

from tools.bench.results import AIMS, BETTER_MODE, Aim, Phase, Report, Round, better_mode, read_report
from tools.bench.table import show_report


def phase(name: str, *rounds: dict[str, float], requests: dict[str, int] | None = None) -> Phase:
    return Phase(name, tuple(Round(tuple(seconds), seconds, requests or {}) for seconds in rounds))


def report(*phases: Phase, **memory: int) -> Report:
    return Report({"cores": "2"}, phases, {engine: {"10 MB": peak} for engine, peak in memory.items()})


def aim(name: str, engine: str, over: str = "", measure: str = "ratio") -> Aim:
    return next(a for a in AIMS if (a.phase, a.engine, a.over, a.measure) == (name, engine, over, measure))


class TestRatios:
    def test_are_taken_round_by_round(self) -> None:
        """A slow minute slows both: the ratio of the medians would be 20 / 10."""
        changed = phase(
            "changed",
            {"builtin": 10, "go build": 10},
            {"builtin": 20, "go build": 20},
            {"builtin": 30, "go build": 5},
        )
        assert changed.median("builtin") == 20
        assert changed.median("go build") == 10
        assert changed.ratio("builtin", "go build") == 1

    def test_need_both_in_a_round(self) -> None:
        changed = phase("changed", {"builtin": 9.0}, {"builtin": 2.0, "go build": 1.0})
        assert changed.ratio("builtin", "go build") == 2
        assert changed.ratio("builtin", "imports") is None
        assert changed.median("imports") is None


class TestAims:
    def test_the_limits(self) -> None:
        assert [(a.phase, a.engine, a.measure, a.limit) for a in AIMS] == [
            ("changed", "builtin", "ratio", 1.0),
            ("changed", "buildx", "ratio", 1.2),
            ("unchanged", "builtin", "ratio", 0.05),
            ("unchanged", "buildx", "ratio", 0.05),
            ("unchanged", "builtin", "ratio", 3.0),
            ("unchanged", "buildx", "ratio", 3.0),
            ("unchanged", "builtin", "requests", 40),
            ("unchanged", "buildx", "requests", 40),
            ("relink", "builtin", "ratio", 1.0),
            ("relink", "buildx", "ratio", 1.2),
            ("package", "builtin", "ratio", 0.4),
            ("package", "buildx", "ratio", 1.0),
            ("cold", "builtin", "ratio", 0.92),
            ("cold", "buildx", "ratio", 0.95),
            ("second", "builtin", "increment", 0.25),
            ("second", "buildx", "increment", 0.35),
            ("memory", "builtin", "memory", 150_000_000),
            ("memory", "buildx", "memory", 150_000_000),
        ]

    @pytest.mark.parametrize(("seconds", "met"), [(1.0, "yes"), (1.01, "NO")])
    def test_is_met_up_to_its_limit(self, seconds: float, met: str) -> None:
        measured = report(phase("changed", {"builtin": seconds, "go build": 1.0}))
        assert aim("changed", "builtin", "go build").row(measured)[-1] == met

    def test_what_was_not_measured_is_neither_met_nor_missed(self) -> None:
        row = aim("cold", "builtin", "go build").row(report(phase("cold", {"builtin": 1.0})))
        assert row[2:] == ("not measured", "≤ 0.92 × go build", "")

    def test_the_better_mode_is_the_faster_one(self) -> None:
        unchanged = phase("unchanged", {"builtin": 1.0, "docker-builder crane": 8.0, "docker-builder docker": 4.0})
        assert better_mode(unchanged) == "docker-builder docker"
        assert aim("unchanged", "builtin", BETTER_MODE).value(report(unchanged)) == 0.25

    def test_without_docker_builder_there_is_no_better_mode(self) -> None:
        assert aim("unchanged", "builtin", BETTER_MODE).value(report(phase("unchanged", {"builtin": 1.0}))) is None

    def test_requests(self) -> None:
        measured = report(phase("unchanged", {"builtin": 1.0}, requests={"builtin": 41}))
        assert aim("unchanged", "builtin", measure="requests").row(measured)[2:] == ("41 requests", "≤ 40 requests", "NO")

    def test_the_second_platform(self) -> None:
        measured = report(phase("second", {"builtin, amd64": 10.0, "builtin, both": 12.0}))
        assert aim("second", "builtin", measure="increment").row(measured)[2:] == ("+20%", "≤ +25%", "yes")

    def test_memory_is_that_of_the_worst_size(self) -> None:
        measured = Report({}, (), {"builtin": {"10 MB": 90_000_000, "1000 MB": 151_000_000}})
        assert aim("memory", "builtin", measure="memory").row(measured)[2:] == ("151 MB", "≤ 150 MB", "NO")


def test_json_gives_every_figure_back() -> None:
    measured = Report(
        {"cores": "2"},
        (phase("unchanged", {"builtin": 1.25}, {"builtin": 1.5}, requests={"builtin": 12}),),
        {"builtin": {"10 MB": 1}},
        ("Absent: somebody",),
    )
    assert read_report(json.loads(json.dumps(measured.to_json()))) == measured


class TestTable:
    MEASURED = report(phase("changed", {"builtin": 2.0, "go build": 1.0}, {"builtin": 4.0, "go build": 1.0}), builtin=99_000_000)

    def test_has_seconds_then_aims(self) -> None:
        lines = show_report(self.MEASURED).splitlines()
        assert "changed  builtin   3.00      2.00     4.00    3.00        2" in lines
        assert "changed  builtin  3.00 × go build  ≤ 1.00 × go build  NO" in lines
        assert "memory   builtin  99 MB            ≤ 150 MB           yes" in lines
        assert not any(line.startswith("cold") for line in lines)

    def test_as_markdown(self) -> None:
        lines = show_report(self.MEASURED, markdown=True).splitlines()
        assert lines[0] == "Measured on cores 2."
        assert "| changed | builtin | 3.00 | 2.00 | 4.00 | 3.00 | 2 |" in lines
        tables = [line for line in lines if line.startswith("|")]
        assert {line.count("|") for line in tables} == {4, 6, 8}
