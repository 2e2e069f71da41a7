"""Recipes narrowed to one release, and what is wrong with ranges."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from builder.errors import RecipeError, RequestError, SourceError
from builder.recipe.by_release import check_entries, edges, narrow, schema_by_release
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.recipe.schema import json_schema
from builder.recipe.yaml_file import YamlDocument, read_yaml
from tests import ROOT
from tests.samples.plans import load_book

TEXT = """\
name: sample
base:
  1.10 to 1.29: base
  1.30+: distroless
tags:
  standard:
    1.10 to 1.20: []
    1.21+: [a, b]
env:
  OLD:
    1.10 to 1.18: x
    1.19+: null
  ALWAYS: y
files:
  - istio: 1.11 to 1.23
    path: /early
  - path: /always
  - istio: 1.24+
    path: /late
"""


def document(tmp_path: Path, text: str = TEXT) -> YamlDocument:
    path = tmp_path / "sample.yaml"
    path.write_text(text)
    return read_yaml(path)


def at(found: YamlDocument, text: str) -> Any:  # noqa: ANN401 - YAML
    release = IstioRelease.parse(text)
    assert release
    narrowed = narrow(found, release)
    return narrowed and narrowed.data


class TestNarrowing:
    def test_takes_what_holds_and_leaves_out_what_does_not(self, tmp_path: Path) -> None:
        found = document(tmp_path)
        assert at(found, "1.10.0") == {
            "name": "sample",
            "base": "base",
            "tags": {"standard": []},
            "env": {"OLD": "x", "ALWAYS": "y"},
            "files": [{"path": "/always"}],
        }
        assert at(found, "1.30.2") == {
            "name": "sample",
            "base": "distroless",
            "tags": {"standard": ["a", "b"]},
            "env": {"ALWAYS": "y"},
            "files": [{"path": "/always"}, {"path": "/late"}],
        }

    def test_keeps_the_line_of_every_key(self, tmp_path: Path) -> None:
        narrowed = narrow(document(tmp_path), IstioRelease(1, 30, 0))
        assert narrowed
        assert narrowed.where(("base",)).endswith(":4")
        assert narrowed.where(("tags", "standard", 1)).endswith(":8")
        assert narrowed.where(("files", 1, "path")).endswith(":19")

    def test_a_document_may_be_for_some_releases(self, tmp_path: Path) -> None:
        found = document(tmp_path, "istio: 1.18+\nname: ztunnel\n")
        assert at(found, "1.17.8") is None
        assert at(found, "1.18.0") == {"name": "ztunnel"}

    def test_turns_at_its_edges(self, tmp_path: Path) -> None:
        lines = sorted({f"{major}.{minor}" for major, minor, _ in edges(document(tmp_path))})
        assert lines == ["1.10", "1.11", "1.19", "1.21", "1.24", "1.30"]


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "release", "told"),
        [
            ("a:\n  1.10 to 1.17: x\n  1.19+: y\n", "1.18.0", r":1: a is not given, for 1\.18\.0"),
            ("a:\n  1.10 to 1.18: x\n  1.18+: y\n", "1.18.0", r":3: a is given twice, by 1\.10 to 1\.18 and by 1\.18\+, for"),
            ("a:\n  1.10 to 1.17: x\n", "1.30.0", r":1: a is not given"),
            ("a:\n  1.10 to 1.17: x\n  other: y\n", "1.10.0", r":3: 'other' is no range of Istio releases"),
            ("a:\n  1.10: x\n", "1.10.0", r":1: 1\.1 is no range of Istio releases; write it in quotes"),
            ("a:\n  1.17 to 1.10: x\n", "1.10.0", r":2: the releases '1\.17 to 1\.10' are out of order"),
            ("a:\n  - istio: 1.17 until 1.19\n", "1.10.0", r":2: '1\.17 until 1\.19' is no range"),
            ("a:\n  - istio: 1.17\n", "1.17.0", r":2: 1\.17 is no range of Istio releases; write it in quotes"),
        ],
    )
    def test_are_told_with_file_and_line(self, tmp_path: Path, text: str, release: str, told: str) -> None:
        with pytest.raises(RecipeError, match=rf"sample\.yaml{told}"):
            at(document(tmp_path, text), release)

    def test_a_gap_between_entries_of_one_path_is_told(self, tmp_path: Path) -> None:
        text = "files:\n  - istio: 1.10 to 1.17\n    path: /a\n  - istio: 1.19+\n    path: /a\n"
        with pytest.raises(RecipeError, match=r"sample\.yaml:4: nothing goes to /a from 1\.18 on, until 1\.19"):
            check_entries(document(tmp_path, text), ("files",))

    def test_entries_that_follow_on_each_other_are_right(self, tmp_path: Path) -> None:
        one = "files:\n  - istio: 1.18+\n    path: /a\n  - istio: 1.10 to 1.17\n    path: /a\n"
        text = f'{one}  - istio: "1.10, 1.12+"\n    path: /b\n'
        check_entries(document(tmp_path, text), ("files",))


PILOT = (ROOT / "recipes" / "pilot.yaml").read_text()


class TestOfTheBook:
    """Whatever is wrong for any release is told when the recipes are read, whichever release is built."""

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            (
                "tags: standard",
                "tags: { 1.10 to 1.12: standard, 1.14+: agent }",
                r"pilot\.yaml:7: binaries\.0\.tags is not given",
            ),
            ("tags: standard", "tags: { 1.10 to 1.14: standard, 1.14+: agent }", r"pilot\.yaml:7: .* given twice"),
            ("tags: standard", "tags: { 1.10 to 1.12: standard, 1.13+: agnet }", r"pilot\.yaml:7: there is no tag set 'agnet'"),
            ("tags: standard", "tags: { 1.10 to 1.12: standard, 1.13+: 7 }", r"pilot\.yaml:7: binaries\.0\.tags: .* string"),
        ],
    )
    def test_mistakes_of_other_releases_are_told(self, tmp_path: Path, old: str, new: str, told: str) -> None:
        (tmp_path / "pilot.yaml").write_text(PILOT.replace(old, new))
        with pytest.raises(RecipeError, match=told):
            load_recipes((tmp_path,))

    def test_an_overlap_of_two_files_is_told(self, tmp_path: Path) -> None:
        second = PILOT.replace("gcp_envoy_bootstrap_tmpl", "envoy_bootstrap_tmpl")
        (tmp_path / "pilot.yaml").write_text(second)
        with pytest.raises(RecipeError, match=r"pilot\.yaml:15: another file goes to /var/lib/istio/envoy/envoy_bootstrap_tmpl"):
            load_recipes((tmp_path,))

    def test_a_release_without_an_image_says_which_have_it(self) -> None:
        with pytest.raises(RequestError, match=r"Istio 1\.17\.2 has no image ztunnel: it is there in 1\.18\+") as raised:
            load_book(release=IstioRelease(1, 17, 2)).image("ztunnel")
        assert "operator" in raised.value.hint

    def test_a_newer_release_has_the_shape_of_the_newest(self) -> None:
        recipes = load_recipes()
        newest, newer = IstioRelease(1, 31, 0), IstioRelease(1, 99, 0)
        assert recipes.at(newer).images == recipes.at(newest).images
        assert recipes.is_ahead(newer)
        assert not recipes.is_ahead(newest)

    def test_an_older_release_is_refused(self) -> None:
        with pytest.raises(SourceError, match=r"Istio 1\.9\.9 is older") as raised:
            load_book(release=IstioRelease(1, 9, 9))
        assert raised.value.hint == "They begin with 1.10; --recipes can replace them."


class TestSchema:
    def test_takes_ranges_wherever_a_value_stands(self) -> None:
        recipe = yaml.safe_load(PILOT)
        jsonschema_rs.validate(json_schema(), {**recipe, "istio": "1.11 to 1.20.6, 1.27+"})
        jsonschema_rs.validate(json_schema(), {**recipe, "user": {"1.10 to 1.20": "1", "1.21+": None}})

    @pytest.mark.parametrize(
        "change", [{"istio": "soon"}, {"user": {"1.10 until 1.20": "1"}}, {"user": {"1.10+": 7}}, {"user": {}}, {"user": None}]
    )
    def test_refuses_what_is_no_range(self, change: dict[str, Any]) -> None:
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(json_schema(), {**yaml.safe_load(PILOT), **change})

    def test_a_schema_without_definitions_stays_without(self) -> None:
        assert "$defs" not in schema_by_release({"type": "object", "properties": {"a": {"type": "string"}}})
