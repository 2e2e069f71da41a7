"""An explanation as text of any width, and as JSON that fits its schema."""

import json
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from builder import __version__
from builder.cli.explain_view import explanation_json, explanation_text
from builder.config.merged import Given
from builder.explain.evidence import Evidence
from builder.explain.fact import ExplainedImage, Explanation, Fact, Origin, Section
from builder.pipeline.explain import choose_images, explain_images
from builder.recipe.loader import shipped
from builder.recipe.traced import RecipeRange
from tests import ROOT
from tests.samples.explained import all_of, sample_evidence, sample_job, write_tree
from tests.samples.golden import GOLDEN, check_golden

SCHEMA = json.loads((ROOT / "docs" / "schemas" / "explain.json").read_text())


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """With settings from a flag and a variable."""
    tree = write_tree(tmp_path_factory.mktemp("trees") / "istio", "1.29.0")
    given = {
        "hub": Given(words=("docker.io/me",), origin="--hub"),
        "base_registry": Given(words=("registry.corp.example/istio",), origin="ISTIO_BUILD_BASE_REGISTRY"),
    }
    return sample_evidence(tree, sample_job(tree, given))


def explained(evidence: Evidence, *names: str) -> Explanation:
    return explain_images(evidence, choose_images(evidence.request, evidence.book, names))


def everywhere_the_same(told: Explanation) -> Explanation:
    """As if source and recipes were where they are on no machine."""

    def moved(value: Any) -> Any:  # noqa: ANN401 - walks values
        if isinstance(value, str):
            return value.replace(told.tree, "/src/istio").replace(told.shipped, "/opt/istio-build")
        if isinstance(value, tuple):
            return tuple(map(moved, value))
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{field.name: moved(getattr(value, field.name)) for field in fields(value)})
        return value

    made = moved(told)
    assert isinstance(made, Explanation)
    return made


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_longer_than_the_terminal(evidence: Evidence, width: int) -> None:
    text = explanation_text(explained(evidence, "all"), width)
    assert [line for line in text.splitlines() if len(line) > width] == []
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_words_longer_than_the_terminal_are_broken() -> None:
    long = Fact(name="/a/" + "x" * 90, value="y" * 150, origins=(Origin(kind="recipe", path="/r/" + "z" * 100, line=7),))
    text = explanation_text(of(long), 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.replace("\n", "").replace(" ", "").count("y") >= 150
    assert re.sub(r"\s", "", text).endswith("z:7")


def of(*facts: Fact) -> Explanation:
    image = ExplainedImage(image="fourth", kind="built", variants=(), sections=(Section(name="files", facts=facts),))
    return Explanation(release="1.29.0", version="1.29.0", commit="0" * 40, tree="/src", shipped="/opt", images=(image,))


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (Origin(kind="recipe", path="/opt/recipes/a.yaml", line=3, key="image"), "recipes/a.yaml:3"),
        (Origin(kind="recipe", path="own/a.yaml", line=3, key="image"), "own/a.yaml:3"),
        (
            Origin(kind="recipe", path="/opt/a.yaml", line=3, ranges=(RecipeRange(releases="1.12+", line=3),)),
            "a.yaml:3 for 1.12+",
        ),
        (Origin(kind="template", path="/opt/dockerfiles/a.j2", line=9), "dockerfiles/a.j2:9"),
        (Origin(kind="source", path="/src/go.mod", line=3, key="go"), "source:go.mod:3"),
        (Origin(kind="flag", key="--hub"), "--hub"),
        (Origin(kind="variable", key="ISTIO_BUILD_HUB"), "ISTIO_BUILD_HUB"),
        (Origin(kind="project_file", path="istio-build.yaml", line=4, key="hub"), "istio-build.yaml:4"),
        (Origin(kind="default", key="--platform"), "the default; --platform says otherwise"),
        (Origin(kind="default", text="all that there is", key="--platform"), "all that there is; --platform says otherwise"),
        (Origin(kind="lock", path="istio-build.lock", line=12, key="bases.base.digest"), "istio-build.lock:12"),
        (Origin(kind="git", text="the git tag at the commit"), "the git tag at the commit"),
    ],
)
def test_an_origin_in_words(origin: Origin, told: str) -> None:
    assert explanation_text(of(Fact(name="/a", value="b", origins=(origin,))), 100).endswith(f"  ← {told}")


def test_the_range_of_a_whole_recipe_is_told_once() -> None:
    whole, entry = RecipeRange(releases="1.18+", line=2), RecipeRange(releases="1.18 to 1.30", line=8)
    recipe = Fact(name="recipe", value="a", origins=(Origin(kind="recipe", path="/opt/a.yaml", line=2, ranges=(whole,)),))
    file = Fact(name="/a", value="b", origins=(Origin(kind="recipe", path="/opt/a.yaml", line=9, ranges=(whole, entry)),))
    lines = explanation_text(of(recipe, file), 100).splitlines()
    assert [line.partition("← ")[2] for line in lines if "←" in line] == [
        "a.yaml:2 for 1.18+",
        "a.yaml:9 for 1.18 to 1.30 (line 8)",
    ]


def test_what_a_terminal_would_obey_is_written_out() -> None:
    text = explanation_text(of(Fact(name="/a", value="b\x1b[31m\nc", origins=(Origin(kind="git", text="\x07"),))), 100)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "b\\x1b[31m\\nc" in text


def test_the_text_is_that_of_the_page_and_as_it_was(evidence: Evidence) -> None:
    """The example of docs/explain.md is a part of it: `UPDATE_GOLDEN=1 make test-fast` writes both anew."""
    text = explanation_text(everywhere_the_same(explained(evidence, "proxyv2")), 100)
    check_golden(GOLDEN / "explain.txt", text + "\n")
    page = ROOT / "docs" / "explain.md"
    bases = text[text.index("Base of each variant") : text.index("Files, ")].rstrip()
    programs = text[text.index("Programs") : text.index("  -X buildGitRevision")].rstrip()
    part = f"{bases}\n…\n{programs}\n…"
    before, _, after = page.read_text().partition("```text\n")
    check_golden(page, f"{before}```text\n{part}\n```{after.partition('```')[2]}")


def test_json_fits_its_schema_and_has_all_of_it(evidence: Evidence) -> None:
    told = explained(evidence, "all")
    document: dict[str, Any] = json.loads(json.dumps(explanation_json(told)))
    jsonschema_rs.validate(SCHEMA, document)
    assert (document["schema_version"], document["tool"]) == (1, f"istio-build {__version__}")
    assert [image["image"] for image in document["images"]] == [image.image for image in told.images]
    [proxyv2] = [image for image in document["images"] if image["image"] == "proxyv2"]
    assert proxyv2["variants"] == ["debug", "distroless"]
    [agent] = [each for each in proxyv2["sections"]["programs"] if each["name"] == "/usr/local/bin/pilot-agent"]
    lines = (shipped("recipes") / "proxyv2.yaml").read_text().splitlines()
    [origin] = agent["origins"]
    assert (origin["kind"], origin["key"], Path(origin["path"]).name) == ("recipe", "binaries[0].path", "proxyv2.yaml")
    assert lines[origin["line"] - 1].strip() == "path: /usr/local/bin/pilot-agent"
    [registry] = [each for each in proxyv2["sections"]["bases"][0]["parts"] if each["name"] == "base_registry"]
    assert [each["key"] for each in registry["origins"]] == ["ISTIO_BUILD_BASE_REGISTRY"]
    assert count(document["images"]) == sum(1 for image in told.images for _ in all_of(image))


def count(value: Any) -> int:  # noqa: ANN401 - JSON
    """How many facts there are, at any depth."""
    if isinstance(value, list):
        return sum(map(count, value))
    return ("parts" in value) + sum(map(count, value.values())) if isinstance(value, dict) else 0


def test_nothing_but_the_schemas_keys_is_taken(evidence: Evidence) -> None:
    document = explanation_json(explained(evidence, "pilot"))
    document["images"][0]["sections"]["recipe"][0]["origins"][0]["kind"] = "guess"
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(SCHEMA, document)
