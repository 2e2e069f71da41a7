"""Links of a source tree: each that leads outside is named, whichever way it goes; what the others lead to is known."""

import os
from pathlib import Path

import pytest

from builder.errors import SourceError
from builder.runtime.tree_links import find_inside, find_linked


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a file and a directory, and files beside it that are nobody's business."""
    tree = tmp_path / "tree"
    for path in (
        tree / "file",
        tree / "directory" / "in",
        tree / ".git" / "config",
        tmp_path / "secret",
        tmp_path / "tree2" / "in",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return tree


def blame(tree: Path) -> str:
    with pytest.raises(SourceError) as raised:
        find_linked(tree)
    assert raised.value.hint
    return raised.value.message.replace(str(tree.parent), "…")


@pytest.mark.parametrize(
    "target",
    [
        "../secret",
        "directory/../../secret",
        "../tree2/in",
        "../nothing",
        "/nothing",
        "/",
        "..",
        ".git/config",
        "directory/../.git",
        # Out and in again: whoever is outside decides where it goes.
        "../back/file",
    ],
)
def test_a_link_that_leads_outside_is_named(tree: Path, target: str) -> None:
    (tree.parent / "back").symlink_to("tree")
    (tree / "directory" / "fine").symlink_to("in")
    (tree / "link").symlink_to(target)
    assert blame(tree) == f"1 link in …/tree leads outside: link -> {target}"


def test_an_absolute_link_and_one_through_others_are_named(tree: Path) -> None:
    (tree / "directory" / "c").symlink_to(tree.parent / "secret")
    (tree / "b").symlink_to("directory")
    (tree / "a").symlink_to("b/c")
    assert blame(tree) == "2 links in …/tree lead outside: a -> b/c, directory/c -> …/secret"


def test_of_many_links_some_are_named(tree: Path) -> None:
    for number in range(8):
        (tree / f"link\n{number}").symlink_to("..")
    shown = ", ".join(rf"'link\n{number}' -> .." for number in range(5))
    assert blame(tree) == f"8 links in …/tree lead outside: {shown} and 3 more"


def test_what_links_inside_lead_to_is_found_with_every_step(tree: Path) -> None:
    (tree / "a").symlink_to("b/in")
    (tree / "b").symlink_to("directory")
    (tree / "directory" / "up").symlink_to("../file")
    (tree / "absolute").symlink_to(tree / "file")
    assert find_linked(tree) == ("a", "absolute", "b", "directory", "directory/in", "directory/up", "file")


def test_links_that_lead_nowhere_or_in_circles_stay_inside(tree: Path) -> None:
    (tree / "nowhere").symlink_to("directory/nothing")
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    assert {"nowhere", "directory/nothing", "a", "b"} <= set(find_linked(tree))


def test_what_is_gits_and_istios_output_is_not_looked_at(tree: Path) -> None:
    (tree / "out").mkdir()
    for path in (tree / "out" / "link", tree / ".git" / "link"):
        path.symlink_to("/etc")
    assert find_linked(tree) == ()
    (tree / "directory" / "out").symlink_to("/etc")
    assert blame(tree) == "1 link in …/tree leads outside: directory/out -> /etc"


def test_a_tree_that_is_reached_through_a_link(tree: Path) -> None:
    (tree.parent / "other-name").symlink_to("tree")
    (tree / "link").symlink_to("file")
    assert find_linked(tree.parent / "other-name") == ("file", "link")
    assert find_inside(tree.parent / "other-name", "link") == tree / "file"


@pytest.mark.parametrize("name", ["link/in", "../secret", "/etc/hostname", ".git/config", "directory/../../secret"])
def test_a_path_that_leads_outside_is_named(tree: Path, name: str) -> None:
    (tree / "link").symlink_to("../tree2")
    with pytest.raises(SourceError, match="leads outside of the source, to ") as raised:
        find_inside(tree, name)
    assert str(tree / name) in raised.value.message
    assert raised.value.hint


def test_names_that_are_no_text_are_followed(tree: Path) -> None:
    name = os.fsdecode(b"\xff")
    (tree / name).symlink_to("..")
    assert blame(tree) == "1 link in …/tree leads outside: '\\udcff' -> .."
