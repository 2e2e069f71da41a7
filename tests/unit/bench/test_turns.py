"""Who takes a turn when, and what is changed before it."""

from itertools import pairwise
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


def test_a_change_is_a_function_of_another_size_each_time_and_stands_alone(tmp_path: Path) -> None:
    """So that what is linked behind it moves, as it does where people change a function."""
    file = tmp_path / "server.go"
    file.write_text("package bootstrap\n\nfunc Run() {}\n")
    sizes, texts = [0], {""}
    for _ in range(50):
        change(file)
        text = file.read_text()
        kept, _, added = text.partition("// bench\n")
        assert kept == "package bootstrap\n\nfunc Run() {}\n\n"
        assert added.count("func benchChange() {") == 1
        assert "func init() { benchChange() }" in added
        sizes.append(added.count("benchValue = "))
        texts.add(text)
    assert len(texts) == 51
    assert all(one != next_one for one, next_one in pairwise(sizes))
