"""What is printed for people on a terminal of any width: readable, whole, and fit to be copied."""

import io
import os
import re
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.cli.screen import ENDLESS, Screen
from builder.cli.streams import find_screen
from builder.cli.voice import Voice
from builder.errors import EngineError
from tests import ROOT
from tests.samples.images import make_digest
from tests.samples.views import HUB, VIEWS
from tests.unit.cli.test_progress import Terminal, watched

WIDTHS = (60, 80, 120)
LONG = f"{HUB}/proxyv2:1.29.0-distroless@{make_digest('x')}"
ROWS = (("IMAGE", "DIGEST", ""), ("pilot", "0123456789ab", "built"), ("", "", "sent"), ("proxyv2-with-a-long-name", "ab", ""))


class TestLines:
    def test_a_line_with_room_stays_as_it_is(self) -> None:
        line = "  two  words "
        assert Screen(len(line)).fold(line) == [line]
        assert ENDLESS.fold("word " * 1000) == ["word " * 1000]

    def test_it_is_broken_between_words_and_goes_on_further_in(self) -> None:
        assert Screen(12).fold("  one two three four") == ["  one two", "    three", "    four"]
        assert Screen(12).fold("  one two three four", hang=0) == ["  one two", "  three four"]

    def test_what_is_copied_is_never_broken(self) -> None:
        lines = Screen(40).fold(f"pull {LONG}, or `istio-build push --hub docker.io/me --istio 1.29.0` again")
        assert lines == ["pull", f"  {LONG},", "  or", "  `istio-build push --hub docker.io/me --istio 1.29.0`", "  again"]

    def test_a_lone_backquote_holds_nothing_together(self) -> None:
        assert Screen(8).fold("a ` word and more") == ["a ` word", "  and", "  more"]


class TestTables:
    def test_where_there_is_room_they_have_columns(self) -> None:
        rows = ENDLESS.table(ROWS, indent="  ")
        assert rows[1] == "  pilot                     0123456789ab  built"
        assert Screen(max(map(len, rows))).table(ROWS, indent="  ") == rows

    def test_else_a_row_is_a_block(self) -> None:
        assert Screen(30).table(ROWS, indent="  ") == [
            "  IMAGE",
            "    DIGEST",
            "  pilot",
            "    0123456789ab  built",
            "    sent",
            "  proxyv2-with-a-long-name",
            "    ab",
        ]

    def test_with_the_words_of_the_first_row_where_cells_need_them(self) -> None:
        assert Screen(30).table((("IMAGE", "SIZE", "STATE"), ("a" * 24, "1 B", "built of nothing else")), labels=True) == [
            "a" * 24,
            "  SIZE   1 B",
            "  STATE  built of nothing else",
        ]

    def test_a_text_in_the_last_column_is_folded_there(self) -> None:
        rows = (("TAG", "WHY", ""), ("1.29", "older than the newest three of them all", ""))
        assert Screen(40).table(rows) == ["TAG   WHY", "1.29  older than the newest three of", "      them all"]

    def test_nothing_is_no_table(self) -> None:
        assert Screen(30).table(()) == []


def copied(text: str) -> set[str]:
    """What people copy: references, digests, addresses, and commands in backquotes."""
    return set(re.findall(r"`[^`\n]+`|\S*(?:sha256:|://|\.example/)\S*|\b[0-9a-f]{12}\b", text))


def alone(line: str) -> bool:
    """Whether nothing in it can be broken: one word, a command, or what is in backquotes."""
    words = line.split()
    return len(words) == 1 or bool(re.fullmatch(r" *(`[^`]*`[.,;:)]?|(istio-build|istioctl|crane|docker) .*)", line))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", VIEWS)
class TestViews:
    def test_it_keeps_within_the_screen_but_for_what_is_copied(self, name: str, width: int) -> None:
        lines = VIEWS[name](Screen(width)).splitlines()
        assert [line for line in lines if len(line) > width and not alone(line)] == []
        assert [line for line in lines if line != line.rstrip()] == []

    def test_nothing_is_lost_or_broken(self, name: str, width: int) -> None:
        whole, narrow = VIEWS[name](ENDLESS), VIEWS[name](Screen(width))
        assert copied(narrow) == copied(whole)
        assert set(whole.split()) - set(narrow.split()) <= {"IMAGE"}
        if max(map(len, whole.splitlines())) <= width:
            assert narrow == whole


def test_the_samples_are_of_every_view() -> None:
    views = {path.stem for path in (ROOT / "builder" / "cli").glob("*_view.py")}
    text = (ROOT / "tests" / "samples" / "views.py").read_text()
    # A record is a file, a run of several releases is told in a line, and an explanation folds itself (test_explain_view.py).
    assert {view for view in views if f"builder.cli.{view} " not in text} == {"explain_view", "record_view", "run_view"}


class TestWidth:
    @pytest.mark.parametrize(
        ("variable", "width"), [("60", 60), ("", 0), ("0", 0), ("-1", 0), ("wide", 0), ("٣", 0), ("9" * 5000, 0)]
    )
    def test_a_file_has_none_unless_a_variable_says_so(self, variable: str, width: int, tmp_path: Path) -> None:
        with (tmp_path / "out").open("w") as stream:
            assert find_screen(stream, {"COLUMNS": variable}) == Screen(width)
            assert find_screen(stream, {}) == ENDLESS

    def test_what_is_closed_or_no_file_has_none_either(self, tmp_path: Path) -> None:
        stream = (tmp_path / "out").open("w")
        stream.close()
        assert find_screen(stream, {}) == ENDLESS
        assert find_screen(Terminal(), {}) == ENDLESS
        assert find_screen(io.StringIO(), {}) == ENDLESS

    @pytest.fixture
    def terminal(self) -> Iterator[int]:
        ours, theirs = os.openpty()
        yield theirs
        os.close(ours)
        os.close(theirs)

    def test_a_terminal_says_how_wide_it_is_and_the_variable_counts_more(self, terminal: int) -> None:
        with os.fdopen(terminal, "w", closefd=False) as stream:
            assert find_screen(stream, {}) == Screen(80), "one that does not know"
            termios.tcsetwinsize(terminal, (24, 60))
            assert find_screen(stream, {}) == Screen(60)
            assert find_screen(stream, {"COLUMNS": "50"}) == Screen(50)


def test_an_error_is_folded_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    Voice((), {"COLUMNS": "40"}).error(EngineError(f"cannot pull {LONG}\n  it is not there", hint="Is the tag right? " * 3))
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["error: cannot pull", f"  {LONG}", "  it is not there"]
    assert all(len(line) <= 40 for line in lines[3:])
    stream.truncate(0)
    Voice((), {"COLUMNS": "20"}).error(EngineError(LONG))
    assert stream.getvalue().lstrip("\0") == f"error: \n  {LONG}\n"


def test_what_is_told_above_a_live_display_is_not_broken_where_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": "60", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    with watched("tty", stream) as progress:
        progress.note(f"waiting for {LONG} to end")
    assert f"waiting for\n  {LONG}\n  to end\n" in re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", stream.getvalue())
