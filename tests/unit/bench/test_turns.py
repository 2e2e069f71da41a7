"""Who takes a turn when, and what is changed before it."""

from pathlib import Path

from tools.bench.phases import change, measure, rotate
from tools.bench.work import Figures


def test_each_round_begins_with_the_next() -> None:
    assert [rotate(("a", "b", "c"), number) for number in range(4)] == [
        ("a", "b", "c"),
        ("b", "c", "a"),
        ("c", "a", "b"),
        ("a", "b", "c"),
    ]
    assert rotate((), 3) == ()


def test_all_take_turns_in_every_round_and_the_order_is_kept() -> None:
    took: list[str] = []

    def ours(number: int) -> Figures:
        took.append(f"ours {number}")
        return Figures(seconds={"ours": 1.0 + number}, requests={"ours": 7})

    def by_hand(number: int) -> Figures:
        took.append(f"by hand {number}")
        return Figures(seconds={"go build": 2.0, "bake": 0.5})

    phase = measure("changed", {"ours": ours, "by hand": by_hand}, rounds=2)
    assert took == ["ours 0", "by hand 0", "by hand 1", "ours 1"]
    assert [turn.order for turn in phase.rounds] == [("ours", "by hand"), ("by hand", "ours")]
    assert [turn.seconds["ours"] for turn in phase.rounds] == [1.0, 2.0]
    assert phase.names() == ("ours", "go build", "bake")
    assert phase.requests("ours") == 7


def test_a_change_is_a_new_one_each_time_and_stands_alone(tmp_path: Path) -> None:
    file = tmp_path / "server.go"
    file.write_text("package bootstrap\n")
    change(file)
    first = file.read_text()
    change(file)
    second = file.read_text()
    assert first.startswith("package bootstrap\n")
    assert first != second
    assert second.count("var benchChange") == 1
