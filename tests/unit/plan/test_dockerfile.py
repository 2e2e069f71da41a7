"""A Dockerfile that says what its plan's values say needs no engine that follows Dockerfiles; any other one does."""

from dataclasses import replace
from pathlib import Path

import pytest

from builder.plan.assembly import assembly_target
from builder.plan.dockerfile import unlike_values
from builder.ports import AssemblyTarget
from tests.samples.plans import image_of, load_book, make_sample_plan


def target() -> AssemblyTarget:
    image = image_of(make_sample_plan(), "pilot-debug")
    return assembly_target(image, image.platforms[0], Path("work"), 0)


def test_every_built_in_image_says_what_its_values_say() -> None:
    plan = make_sample_plan()
    found = {
        unlike_values(assembly_target(image, platform, Path("work"), 0)) for image in plan.images for platform in image.platforms
    }
    assert found == {""}
    assert {image.image for image in plan.images} == {recipe.image for recipe in load_book().core_images}


@pytest.mark.parametrize("line", ["RUN true", "COPY a /b", "LABEL more=1", "USER 0", "STOPSIGNAL SIGQUIT", "run true"])
def test_an_instruction_more_is_told(line: str) -> None:
    wanted = target()
    assert unlike_values(replace(wanted, dockerfile=f"{wanted.dockerfile}{line}\n")) == line


def test_an_instruction_less_is_told() -> None:
    wanted = target()
    lines = [line for line in wanted.dockerfile.splitlines() if not line.startswith("ENTRYPOINT")]
    assert unlike_values(replace(wanted, dockerfile="\n".join(lines))).startswith("ENTRYPOINT [")


def test_comments_and_empty_lines_say_nothing() -> None:
    wanted = target()
    assert unlike_values(replace(wanted, dockerfile=f"# a comment\n\n{wanted.dockerfile}\n  \n")) == ""
