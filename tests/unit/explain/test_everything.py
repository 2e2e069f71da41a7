"""Every built-in recipe at releases of three shapes: what a plan does is explained, and each line that is named says it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.config.merged import Given
from builder.explain.evidence import Evidence
from builder.explain.fact import ExplainedImage, Fact, Origin
from builder.plan.model import CompiledFile, Plan
from builder.plan.planner import make_plan
from tests.samples.explained import all_facts, all_of, explain, fact, sample_evidence, sample_job, section, write_tree
from tests.samples.plans import image_of, lock_for

RELEASES = ("1.14.0", "1.20.0", "1.29.0")


@pytest.fixture(scope="module", params=RELEASES)
def evidence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    tree = write_tree(tmp_path_factory.mktemp("trees") / request.param, request.param)
    return sample_evidence(tree, sample_job(tree), request.param)


@pytest.fixture(scope="module")
def explained(evidence: Evidence) -> dict[str, ExplainedImage]:
    return explain(evidence, "all")


@pytest.fixture(scope="module")
def plan(evidence: Evidence) -> Plan:
    return make_plan(replace(evidence.request, images=("all",)), evidence.book, lock_for(evidence.book, evidence.source))


def test_every_image_of_the_release_is_explained(evidence: Evidence, explained: dict[str, ExplainedImage]) -> None:
    assert set(explained) == {recipe.image for recipe in evidence.book.images}


def test_every_file_of_the_plan_is_told_and_no_other(explained: dict[str, ExplainedImage], plan: Plan) -> None:
    for image in plan.images:
        told = {each.name: each for each in section(explained[image.image], "files")}
        found = set()
        for file in image.platforms[0].files:
            [name] = [name for name in told if file.path == name or file.path.startswith(f"{name}/")]
            found.add(name)
            if name == file.path:
                assert fact(told[name].parts, "mode").value == file.mode
                assert fact(told[name].parts, "owner").value == "0:0"
                source = fact(told[name].parts, "from").value
                assert source.rpartition("/")[2] in str(file.origin) or str(file.origin).startswith(f"{source} ")
        assert found == set(told)


def test_every_program_of_the_plan_is_told_with_its_package_and_tags(explained: dict[str, ExplainedImage], plan: Plan) -> None:
    steps = {step.key: step for step in plan.compiles}
    for image in plan.images:
        programs = section(explained[image.image], "programs")
        compiled = [file for file in image.platforms[0].files if isinstance(file.origin, CompiledFile)]
        assert {file.path for file in compiled} == {each.name for each in programs}
        for file in compiled:
            assert isinstance(file.origin, CompiledFile)
            step, told = steps[file.origin.step], fact(programs, file.path).parts
            assert fact(told, "package").value == dict(step.mains)[file.origin.program]
            assert fact(told, "-tags").value == (",".join(step.command.tags) or "none")


def test_every_flag_stamp_and_variable_of_a_compile_step_is_told(explained: dict[str, ExplainedImage], plan: Plan) -> None:
    told = section(explained["pilot"], "compiling")
    for step in plan.compiles:
        here = [each for each in told if not each.platforms or str(step.platform) in each.platforms]
        assert [word for each in here if each.name == "flags" for word in each.value.split()] == list(step.command.flags)
        stamps = [
            f"-X {fact(each.parts, 'package').value}.{each.name.removeprefix('-X ')}={each.value}"
            for each in here
            if each.name.startswith("-X ")
        ]
        linker = [word for each in here if each.name == "-ldflags" for word in each.value.split()]
        assert linker + stamps == list(step.command.ldflags)
        assert {each.name.removeprefix("env "): each.value for each in here if each.name.startswith("env ")} == dict(step.env)


def test_every_base_is_told(explained: dict[str, ExplainedImage], plan: Plan) -> None:
    for image in plan.images:
        assert image.base
        told = fact(section(explained[image.image], "bases"), image.variant)
        assert fact(told.parts, "base").value == image.base.name


def test_how_an_image_is_run_is_told_as_the_plan_has_it(explained: dict[str, ExplainedImage], plan: Plan) -> None:
    for image in plan.images:
        told = section(explained[image.image], "configuration")
        texts = {"USER": image.user, "WORKDIR": image.workdir}
        for word, value in texts.items():
            assert fact(told, word).value == (value or "the base image's own")
        for on in image.platforms:
            env = {each.name: each.value for each in told if each.name.startswith("ENV ")}
            # What goes on where the base image's stops is known once that has been looked up.
            assert {f"ENV {name}" for name, _ in on.env} == set(env)
            assert all(env[f"ENV {name}"] == value or "base_env" in env[f"ENV {name}"] for name, value in on.env)
            labels = {each.name: each.value for each in told if each.name.startswith("LABEL ")}
            assert labels == {f"LABEL {name}": value for name, value in on.labels}


def test_every_tag_is_told_once(explained: dict[str, ExplainedImage], plan: Plan) -> None:
    for image in {each.image for each in plan.everything}:
        planned = [str(reference) for each in plan.everything if each.image == image for reference in each.references]
        assert sorted(dict.fromkeys(each.value for each in section(explained[image], "tags"))) == sorted(planned)


def test_the_tags_of_a_variant_are_those_of_the_plan(explained: dict[str, ExplainedImage], plan: Plan) -> None:
    told = [each.value for each in section(explained["pilot"], "tags") if each.name == "distroless"]
    assert told == [str(reference) for reference in image_of(plan, "pilot-distroless").references]


def lines_named(images: dict[str, ExplainedImage]) -> Iterator[tuple[Fact, Origin]]:
    for image in images.values():
        for each in all_of(image):
            yield from ((each, origin) for origin in each.origins if origin.path)


def says(line: str, told: Fact, origin: Origin) -> bool:
    """Whether a line of a file holds the key, the range of releases, the instruction or the value that it is named for."""
    if origin.kind == "template":
        return told.name.split()[0] in line or origin.line == 1
    if origin.kind == "source":
        return told.value in line
    key = re.sub(r"\[\d+\]$", "", origin.key).rpartition(".")[2]
    words = [f"{key}:", f'"{key}":', *(each.releases for each in origin.ranges)]
    return any(word in line for word in words) or bool(told.value and told.value.split()[0] in line)


def test_every_line_that_is_named_is_there_and_says_it(explained: dict[str, ExplainedImage]) -> None:
    files: dict[str, list[str]] = {}
    named = list(lines_named(explained))
    assert len(named) > 300
    for told, origin in named:
        lines = files.setdefault(origin.path, Path(origin.path).read_text().splitlines())
        assert 1 <= origin.line <= len(lines), (told, origin)
        assert says(lines[origin.line - 1], told, origin), (lines[origin.line - 1], told, origin)
        for each in origin.ranges:
            assert each.releases in lines[each.line - 1], (each, origin)


def test_a_line_that_is_off_by_one_would_be_noticed(explained: dict[str, ExplainedImage]) -> None:
    """Most lines do not say what the one before them says: the test above can fail."""
    named = [(told, origin) for told, origin in lines_named(explained) if origin.kind in ("recipe", "source")]
    noticed = 0
    for told, origin in named:
        lines = [*Path(origin.path).read_text().splitlines(), ""]
        noticed += not says(lines[origin.line], told, origin)
    assert noticed > 0.7 * len(named)


def test_every_fact_has_an_origin(explained: dict[str, ExplainedImage]) -> None:
    assert [each.name for image in explained.values() for each in all_of(image) if not each.origins] == []


def test_built_bases_are_told_by_their_packages(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "1.29.0")
    job = sample_job(tree, {"bases": Given(words=("build",), origin="--bases")})
    images = explain(sample_evidence(tree, job), "bases")
    assert {image.kind for image in images.values()} == {"packages"}
    packages = [each.value for each in section(images["iptables"], "packages") if each.name == "packages"]
    assert packages[:3] == ["libc6", "libgcc-s1", "iptables"]
    for told, origin in lines_named(images):
        lines = Path(origin.path).read_text().splitlines()
        assert says(lines[origin.line - 1], told, origin), (lines[origin.line - 1], told, origin)
    assert {each.value for each in all_facts(section(images["base"], "tags"))} >= {"hub.test/istio/base:1.29-2026-02-04"}
