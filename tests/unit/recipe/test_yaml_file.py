"""Mistakes in YAML files are shown where they stand, with the nearest key that there is."""

import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import StringConstraints

from builder.errors import RecipeError
from builder.recipe.yaml_file import Schema, read_yaml, validate


class Part(Schema):
    name: str
    size: int = 0
    tags: tuple[str, ...] = ()


class Whole(Schema):
    title: str = ""
    main_part: Part | None = None
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part] = {}
    by_form: dict[Annotated[str, StringConstraints(pattern="^[a-z]+$")], Part] = {}


def check(directory: Path, text: str) -> str:
    """What is said of a file with a mistake."""
    path = directory / "file.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as raised:
        validate(Whole, read_yaml(path))
    return raised.value.message.replace(f"{directory}/", "")


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("title: a\nparts:\n  - name: b\n    tags: [x, y]\n")
    assert validate(Whole, read_yaml(path)) == Whole(title="a", parts=(Part(name="b", tags=("x", "y")),))


@pytest.mark.parametrize("text", ["", "# nothing but this\n", "---\n"])
def test_an_empty_file_is_one_without_keys(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    assert validate(Whole, read_yaml(path)) == Whole()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("titel: a\n", "file.yaml:1: unknown key 'titel'; did you mean 'title'?"),
        (
            "title: a\n\n# note\nxyz: 1\n",
            "file.yaml:4: unknown key 'xyz'; known keys: by_form, by_name, main_part, parts, title.",
        ),
        ("parts:\n  - name: a\n  - name: b\n    sice: 3\n", "file.yaml:4: unknown key 'parts.1.sice'; did you mean 'size'?"),
        ("main_part:\n  name: a\n  tag: [x]\n", "file.yaml:3: unknown key 'main_part.tag'; did you mean 'tags'?"),
        ("by_name:\n  one:\n    name: a\n    seize: 1\n", "file.yaml:4: unknown key 'by_name.one.seize'; did you mean 'size'?"),
        ("by_form:\n  one: {name: a, siz: 1}\n", "file.yaml:2: unknown key 'by_form.one.siz'; did you mean 'size'?"),
        ("by_name: {one: {name: a, nmae: b}}\n", "file.yaml:1: unknown key 'by_name.one.nmae'; did you mean 'name'?"),
    ],
)
def test_an_unknown_key_is_told_with_line_and_nearest_key(tmp_path: Path, text: str, told: str) -> None:
    assert check(tmp_path, text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: 1.29\n", r"file\.yaml:1: title: .*valid string; write it in quotes"),
        ("title: yes\n", r"file\.yaml:1: title: .*valid string; write it in quotes"),
        ("title:\n", r"file\.yaml:1: title: .*valid string$"),
        ("\nparts:\n  - name: a\n    size: big\n", r"file\.yaml:4: parts\.0\.size: .*valid integer"),
        ("parts:\n\n  - size: 3\n", r"file\.yaml:3: parts\.0\.name: Field required"),
        ("parts:\n  - name: a\n    tags:\n      - x\n      - 7\n", r"file\.yaml:5: parts\.0\.tags\.1: .*valid string"),
        ("- a\n- b\n", r"file\.yaml:1: the file: "),
        ("text\n", r"file\.yaml:1: the file: "),
        ("1: a\n", r"file\.yaml:1: 1: "),
    ],
)
def test_a_wrong_value_is_told_with_line_and_key(tmp_path: Path, text: str, told: str) -> None:
    assert re.match(told, check(tmp_path, text))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    told = check(tmp_path, "titel: a\nparts:\n  - name: 1\n  - nam: x\n")
    assert [line.split(":")[1] for line in told.splitlines()] == ["3", "4", "4", "1"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: a\ntitle: b\n", "file.yaml:2: key 'title' stands twice"),
        ("parts:\n  - name: a\n    size: 1\n    name: b\n", "file.yaml:4: key 'name' stands twice"),
        ("main_part: {name: a, name: b}\n", "file.yaml:1: key 'name' stands twice"),
    ],
)
def test_a_key_twice_is_told_with_the_line_of_the_second(tmp_path: Path, text: str, told: str) -> None:
    assert check(tmp_path, text) == told


def test_the_same_key_in_two_places_is_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("parts:\n  - &a {name: x}\n  - {name: y}\nmain_part: *a\n")
    assert validate(Whole, read_yaml(path)).main_part == Part(name="x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: a\n\ttitle: b\n", r"file\.yaml:2: not valid YAML"),
        ("title: 'a\n", r"file\.yaml:2: not valid YAML"),
        ("title: [a\n", r"file\.yaml:2: not valid YAML"),
        ("title: *nothing\n", r"file\.yaml:1: not valid YAML: found undefined alias 'nothing'"),
        ("title: a\n---\ntitle: b\n", r"file\.yaml:2: not valid YAML: but found another document"),
        ("? [a]\n: b\n", r"file\.yaml:1: not valid YAML: found unhashable key"),
        ("title: !!python/object/apply:os.system [ls]\n", r"file\.yaml:1: not valid YAML: could not determine a constructor"),
        ("title: 2026-13-45\n", r"file\.yaml: not valid YAML: month must be"),
        ("title: !!timestamp soon\n", r"file\.yaml: not valid YAML"),
        ("title: \0\n", r"file\.yaml: not valid YAML: .*special characters"),
        ("title: &a [*a]\n", r"file\.yaml:1: an alias within what it stands for"),
        ("[" * 5000, r"file\.yaml:1: nested too deeply"),
        ("[" * 51, r"file\.yaml:1: nested too deeply"),
        ("[" * 51 + "]" * 51, r"file\.yaml:1: nested too deeply"),
        ("[" * 5000 + "]" * 5000, r"file\.yaml:1: nested too deeply"),
        ("\n".join(" " * level + "a:" for level in range(60)), r"file\.yaml:51: nested too deeply"),
    ],
)
def test_what_is_no_yaml_is_told(tmp_path: Path, text: str, told: str) -> None:
    assert re.match(told, check(tmp_path, text))


def test_what_is_nested_as_deeply_as_may_be_is_read(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("[" * 50 + "]" * 50)
    data = read_yaml(tmp_path / "file.yaml").data
    for _ in range(49):
        [data] = data
    assert data == []


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_bytes(b"title: \xff\xfe")
    with pytest.raises(RecipeError, match=r"file\.yaml: not valid YAML: .*utf-8"):
        read_yaml(tmp_path / "file.yaml")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read .*/gone\.yaml: No such file"):
        read_yaml(tmp_path / "gone.yaml")
    with pytest.raises(RecipeError, match=r"cannot read .*: Is a directory"):
        read_yaml(tmp_path)


def test_a_place_without_a_line_is_told_by_the_nearest_around_it(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("title: a\nparts:\n  - name: b\n")
    document = read_yaml(path)
    assert document.where(("parts", 0, "name")) == f"{path}:3"
    assert document.where(("parts", 0, "size")) == f"{path}:3"
    assert document.where(("parts", 7)) == f"{path}:2"
    assert document.where(("nothing",)) == f"{path}:1"
