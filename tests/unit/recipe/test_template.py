"""How expressions and Dockerfile templates are filled in, and what their mistakes are called."""

import json

import pytest

from builder.errors import RecipeError
from builder.recipe.template import render_dockerfile, render_text
from tests.samples.plans import load_book

IMAGE = {"base": "base:1", "user": "", "entrypoint": ("/bin/a b", 'say "hi"'), "env": (("A", "b"),)}


def render(template: str, **image: object) -> str:
    return render_dockerfile({"t.j2": template}, "t.j2", {**IMAGE, **image})


class TestText:
    def test_expressions_are_filled_in(self) -> None:
        values = {"version": "1.29.0", "dependencies": {"PROXY_REPO_SHA": "abc"}}
        assert render_text("v{{ version }}-{{ dependencies.PROXY_REPO_SHA }}", values, "x") == "v1.29.0-abc"

    def test_other_text_is_left_as_it_is(self) -> None:
        assert render_text("a $b %c \\ #}\n", {}, "x") == "a $b %c \\ #}\n"

    def test_an_unknown_name_says_where_and_what_is_known(self) -> None:
        with pytest.raises(RecipeError, match=r"^pilot\.yaml: env\.A: .*'verion' is undefined") as raised:
            render_text("{{ verion }}", {"version": "1", "hub": "h"}, "pilot.yaml: env.A")
        assert raised.value.hint == "Known names: hub, version."

    def test_an_unknown_dependency_is_named(self) -> None:
        with pytest.raises(RecipeError, match="no attribute 'PROXY'"):
            render_text("{{ dependencies.PROXY }}", {"dependencies": {"PROXY_REPO_SHA": "abc"}}, "x")

    @pytest.mark.parametrize(
        "text", ["{{ version", "{% if %}", "{{ 1 / 0 }}", "{{ version + 1 }}", "{{ range(10 ** 9) | list }}"]
    )
    def test_a_mistake_is_one_of_the_recipe(self, text: str) -> None:
        with pytest.raises(RecipeError, match=r"^release\.yaml: bases\.base: "):
            render_text(text, {"version": "1"}, "release.yaml: bases.base")

    @pytest.mark.parametrize("text", ["{{ version.__class__.__mro__ }}", "{{ cycler.__init__.__globals__ }}"])
    def test_recipes_cannot_reach_into_python(self, text: str) -> None:
        with pytest.raises(RecipeError, match="unsafe"):
            render_text(text, {"version": "1"}, "x")


class TestDockerfile:
    def test_exec_form_is_json_so_that_no_shell_reads_it(self) -> None:
        text = render("ENTRYPOINT {{ image.entrypoint | exec_form }}")
        assert json.loads(text.removeprefix("ENTRYPOINT ")) == ["/bin/a b", 'say "hi"']

    @pytest.mark.parametrize(
        ("value", "quoted"),
        [
            ("plain", '"plain"'),
            ("two words", '"two words"'),
            ("$HOME", '"\\$HOME"'),
            ("${A}", '"\\${A}"'),
            ('say "hi"', '"say \\"hi\\""'),
            ("back\\slash", '"back\\\\slash"'),
            ("\\$A", '"\\\\\\$A"'),
            ("", '""'),
        ],
    )
    def test_values_are_quoted_so_that_nothing_in_them_means_anything(self, value: str, quoted: str) -> None:
        assert render("ENV A={{ image.value | quoted }}", value=value) == f"ENV A={quoted}\n"

    @pytest.mark.parametrize("value", ["a\nUSER root", "a\n", "a\rb"])
    def test_a_line_break_in_a_value_cannot_become_an_instruction(self, value: str) -> None:
        with pytest.raises(RecipeError, match=r"t\.j2:1: .*line break"):
            render("LABEL a={{ image.value | quoted }}", value=value)

    def test_one_line_break_at_the_end_whatever_the_template_has(self) -> None:
        assert render("\n\nFROM {{ image.base }}\n\n\n") == "FROM base:1\n"

    def test_an_unknown_name_says_template_and_line(self) -> None:
        with pytest.raises(RecipeError, match=r"^template t\.j2:2: .*'usr'"):
            render("FROM {{ image.base }}\nUSER {{ image.usr }}\n")

    def test_a_mistake_in_an_imported_template_says_that_ones_name_and_line(self) -> None:
        templates = {
            "a.j2": '{% import "b.j2" as b %}\nFROM x\n{{ b.macro(image) }}\n',
            "b.j2": "{% macro macro(image) %}\n\n{{ image.nope }}\n{% endmacro %}",
        }
        with pytest.raises(RecipeError, match=r"^template b\.j2:3: .*'nope'"):
            render_dockerfile(templates, "a.j2", IMAGE)

    def test_a_syntax_error_says_template_and_line(self) -> None:
        with pytest.raises(RecipeError, match=r"^template t\.j2:3: Encountered unknown tag 'fro'"):
            render("FROM x\n\n{% fro x %}\n")

    def test_a_template_that_is_not_there_is_named(self) -> None:
        with pytest.raises(RecipeError, match=r"t\.j2:1: .*gone\.j2"):
            render('{% include "gone.j2" %}')

    def test_templates_cannot_reach_into_python(self) -> None:
        with pytest.raises(RecipeError, match="unsafe"):
            render("{{ image.base.__class__ }}")

    def test_templates_get_the_image_and_nothing_else(self) -> None:
        with pytest.raises(RecipeError, match="'environment' is undefined"):
            render("{{ environment }}")

    def test_changed_templates_are_not_taken_from_memory(self) -> None:
        assert render("FROM a") == "FROM a\n"
        assert render("FROM b") == "FROM b\n"

    def test_no_value_of_the_built_in_templates_is_left_unquoted(self) -> None:
        """Whatever stands in env and labels comes out as one word."""
        image = {
            "base": "base:1",
            "layers": (),
            "user": "1:1",
            "workdir": "/",
            "entrypoint": ("/a",),
            "env": (("E", "x $y"),),
            "labels": (("l", 'x "y"'),),
        }
        templates = dict(load_book().templates)
        for name in ("istioctl.Dockerfile.j2", "pilot.Dockerfile.j2", "proxyv2.Dockerfile.j2"):
            lines = render_dockerfile(templates, name, image).splitlines()
            assert 'LABEL l="x \\"y\\""' in lines
            assert lines[-1] == 'ENTRYPOINT ["/a"]'
        assert 'ENV E="x \\$y"' in lines
