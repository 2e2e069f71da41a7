"""Which path an entry of a layer has, and what a whiteout hides of the layers below."""

import pytest

from builder.oci.overlay import entry_path, find_whiteout


@pytest.mark.parametrize("name", ["usr/bin/a", "./usr/bin/a", "/usr/bin/a", "//usr/bin/a", "usr/./bin//a", "usr/lib/../bin/a"])
def test_one_path_has_many_names(name: str) -> None:
    assert entry_path(name) == "/usr/bin/a"


@pytest.mark.parametrize(
    ("entry", "hidden", "kept"),
    [
        ("/etc/.wh.passwd", {"/etc/passwd", "/etc/passwd/x"}, {"/etc", "/etc/passwd-", "/etc/group"}),
        ("/.wh.etc", {"/etc", "/etc/passwd"}, {"/", "/etcetera"}),
        ("/etc/.wh..wh..opq", {"/etc/passwd", "/etc/a/b"}, {"/etc", "/etcetera"}),
        ("/.wh..wh..opq", {"/etc", "/etc/passwd"}, set()),
    ],
)
def test_a_whiteout_hides_what_is_below_it(entry: str, hidden: set[str], kept: set[str]) -> None:
    whiteout = find_whiteout(entry)
    assert whiteout
    assert {path for path in hidden | kept if whiteout.hides(path)} == hidden


@pytest.mark.parametrize("entry", ["/etc/passwd", "/etc/.wh", "/.wh.etc/passwd"])
def test_any_other_entry_is_no_whiteout(entry: str) -> None:
    assert find_whiteout(entry) is None
