"""Recipes: the built-in ones, a user's on top, their mistakes, their schema, and their documentation."""

import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from builder.errors import RecipeError, RequestError
from builder.plan.planner import make_plan
from builder.plan.selection import platform_values, recipe_values
from builder.recipe.availability import check_every_release
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.recipe.rootfs_schema import Account, Archive, Content, Distribution, Rootfs
from builder.recipe.schema import (
    AnyImage,
    ArchiveTarget,
    Artifact,
    ArtifactFile,
    AssembledImage,
    Binary,
    BuiltImage,
    Go,
    ImageUser,
    Mirror,
    MirrorVariant,
    ProgramArchive,
    ReleaseRecipe,
    RootfsImage,
    TreeDirectory,
    TreeFile,
    Variant,
    json_schema,
)
from builder.recipe.yaml_file import Schema
from tests import ROOT
from tests.samples.images import AMD64
from tests.samples.plans import built_images, image_of, load_book, make_lock, make_request, make_source

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
BASES = sorted((ROOT / "recipes" / "built-bases").glob("*.yaml"))
EXAMPLE = ROOT / "examples" / "recipes"
DOCUMENT = (ROOT / "docs" / "recipes.md").read_text()

RECIPE = """\
image: fourth
template: fourth.Dockerfile.j2
binaries:
  - main: ./cmd/fourth
    tags: standard
    path: /usr/local/bin/fourth
artifacts:
  - artifact: envoy
    path: /usr/local/bin/envoy
variants:
  debug: { base: base }
istio: 1.12+
"""


def write_recipe(directory: Path, text: str = RECIPE, name: str = "fourth.yaml") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(text)
    (directory / "fourth.Dockerfile.j2").write_text("FROM {{ image.base }}\n")
    return directory


class TestBuiltIn:
    def test_without_a_name_the_three_images_are_built_that_istioctl_install_needs(self) -> None:
        book = load_book()
        assert [recipe.image for recipe in book.core_images] == ["istioctl", "pilot", "proxyv2"]
        assert all(set(recipe.variant_names) == {"debug", "distroless"} for recipe in book.core_images)
        assert book.release.default_variant == "debug"

    def test_users_and_entrypoints_are_those_of_istios_dockerfiles(self) -> None:
        images = built_images(load_book())
        found = {name: (images[name].user, images[name].entrypoint) for name in ("istioctl", "pilot", "proxyv2")}
        # istioctl/docker/Dockerfile.istioctl, pilot/docker/Dockerfile.pilot, pilot/docker/Dockerfile.proxyv2
        assert found == {
            "istioctl": ("1000:1000", ("/usr/local/bin/istioctl",)),
            "pilot": ("1337:1337", ("/usr/local/bin/pilot-discovery",)),
            "proxyv2": ("", ("/usr/local/bin/pilot-agent",)),
        }

    def test_the_user_of_app_is_there_from_1_20_1_on(self) -> None:
        """pkg/test/echo/docker/Dockerfile.app, and no user of any other image."""
        found = {
            str(release): {
                name: [(user.name, user.uid) for user in recipe.users]
                for name, recipe in built_images(load_book(release=release)).items()
                if recipe.users
            }
            for release in (IstioRelease(1, 20, 0), IstioRelease(1, 20, 1), IstioRelease(1, 29, 0))
        }
        assert found == {"1.20.0": {}, "1.20.1": {"app": [("application", 1338)]}, "1.29.0": {"app": [("application", 1338)]}}

    def test_the_origin_of_a_recipe_is_its_file(self) -> None:
        assert Path(load_book().origin("pilot")) == ROOT / "recipes" / "pilot.yaml"

    def test_an_unknown_image_names_the_nearest(self) -> None:
        with pytest.raises(RequestError, match="no image 'istiocl'") as raised:
            load_book().image("istiocl")
        assert raised.value.hint.startswith("Did you mean istioctl? ")

    @pytest.mark.parametrize("build_bases", [False, True])
    def test_recipes_hold_for_every_release(self, build_bases: bool) -> None:
        """Not looked at when a run starts, as recipes of the user are."""
        recipes = load_recipes(build_bases=build_bases)
        check_every_release(recipes)
        names = {recipe.image for istio in recipes.turning_points() for recipe in recipes.at(istio).images}
        assert names == {name for name, _ in recipes.images}


class TestOfTheUser:
    def test_a_directory_adds_an_image(self, tmp_path: Path) -> None:
        book = load_book(write_recipe(tmp_path / "own"))
        assert [recipe.image for recipe in book.core_images] == ["istioctl", "pilot", "proxyv2", "fourth"]
        assert book.origin("fourth") == str(tmp_path / "own" / "fourth.yaml")

    def test_a_directory_replaces_an_image_whatever_its_file_is_called(self, tmp_path: Path) -> None:
        book = load_book(write_recipe(tmp_path / "own", RECIPE.replace("image: fourth", "image: pilot")))
        assert [recipe.image for recipe in book.core_images] == ["istioctl", "pilot", "proxyv2"]
        assert built_images(book)["pilot"].template == "fourth.Dockerfile.j2"

    def test_a_directory_replaces_a_template(self, tmp_path: Path) -> None:
        (tmp_path / "pilot.Dockerfile.j2").write_text("FROM scratch\n")
        templates = dict(load_book(tmp_path).templates)
        assert templates["pilot.Dockerfile.j2"] == "FROM scratch\n"
        assert templates["proxyv2.Dockerfile.j2"] == dict(load_book().templates)["proxyv2.Dockerfile.j2"]

    def test_a_directory_replaces_what_all_images_share(self, tmp_path: Path) -> None:
        text = (ROOT / "recipes" / "release.yaml").read_text().replace("docker.io/istio", "registry.corp.example/mirror")
        (tmp_path / "release.yaml").write_text(text)
        assert load_book(tmp_path).release.base_registry == "registry.corp.example/mirror"
        assert [recipe.image for recipe in load_book(tmp_path).core_images] == ["istioctl", "pilot", "proxyv2"]

    def test_the_last_directory_wins(self, tmp_path: Path) -> None:
        first = write_recipe(tmp_path / "a", f"{RECIPE}summary: first\n")
        second = write_recipe(tmp_path / "b", f"{RECIPE}summary: second\n")
        assert load_book(first, second).image("fourth").summary == "second"
        assert load_book(second, first).image("fourth").summary == "first"

    @pytest.mark.parametrize("place", ["own/dockerfiles", "dockerfiles"])
    def test_templates_may_stand_below_or_beside_the_recipes(self, tmp_path: Path, place: str) -> None:
        own = write_recipe(tmp_path / "own")
        (tmp_path / place).mkdir()
        shutil.move(own / "fourth.Dockerfile.j2", tmp_path / place)
        assert "fourth.Dockerfile.j2" in dict(load_book(own).templates)

    def test_a_directory_that_is_none_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match="/gone is not a directory") as raised:
            load_book(tmp_path / "gone")
        assert "--recipes" in raised.value.hint

    def test_a_directory_with_nothing_of_use_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").touch()
        with pytest.raises(RecipeError, match="holds no recipes and no templates"):
            load_book(tmp_path)

    def test_one_image_in_two_files_of_a_directory_is_told(self, tmp_path: Path) -> None:
        own = write_recipe(tmp_path / "own")
        write_recipe(own, name="other.yaml")
        with pytest.raises(RecipeError, match=r"other\.yaml:1: image 'fourth' is in fourth\.yaml already"):
            load_book(own)

    def test_a_template_that_is_no_text_is_told(self, tmp_path: Path) -> None:
        own = write_recipe(tmp_path / "own")
        (own / "fourth.Dockerfile.j2").write_bytes(b"FROM \xff")
        with pytest.raises(RecipeError, match=r"cannot read the template .*/fourth\.Dockerfile\.j2: .*utf-8"):
            load_book(own)


class TestMistakes:
    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("template: fourth", "template: forth", r":2: there is no template 'forth\.Dockerfile\.j2'; did you mean 'fourth"),
            ("base: base", "base: bse", r":11: there is no base 'bse'; did you mean 'base'\?"),
            ("base: base", "base: zzz", r":11: there is no base 'zzz'; known: base, distroless, iptables\."),
            ("tags: standard", "tags: standart", r":5: there is no tag set 'standart'; did you mean 'standard'\?"),
            ("artifact: envoy", "artifact: evnoy", r":8: there is no artifact 'evnoy'; did you mean 'envoy'\?"),
            ("    tags: standard", "    tag: standard", r":5: unknown key 'binaries\.0\.tag'; did you mean 'tags'\?"),
            ("{ base: base }", "{ bases: base }", r":11: unknown key 'variants\.debug\.bases'; did you mean 'base'\?"),
            (
                "path: /usr/local/bin/envoy",
                "path: /usr/local/bin/fourth",
                r":9: another file goes to /usr/local/bin/fourth already",
            ),
            ("path: /usr/local/bin/envoy", "path: usr/local/bin/envoy", r":9: artifacts\.0\.path: String should match"),
            ("path: /usr/local/bin/envoy", "path: /usr/../etc", r":9: artifacts\.0\.path: String should match"),
            ("path: /usr/local/bin/envoy", "path: /bin/", r":9: artifacts\.0\.path: String should match"),
            ("path: /usr/local/bin/envoy", "path: /bin/envoy\n    mode: 0755", r":10: artifacts\.0\.mode: .*write it in quotes"),
            ("path: /usr/local/bin/envoy", "path: /bin/envoy\n    mode: '755'", r":10: artifacts\.0\.mode: String should match"),
            ("path: /usr/local/bin/envoy", "path: /bin/envoy\n    mode: '4755'", r":10: artifacts\.0\.mode: String should match"),
            ("main: ./cmd/fourth", "main: cmd/fourth", r":4: binaries\.0\.main: String should match"),
            ("main: ./cmd/fourth", "main: ./../fourth", r":4: binaries\.0\.main: "),
            ("image: fourth", "image: Fourth", r":1: image: String should match"),
            ("image: fourth", "image: a/b", r":1: image: String should match"),
            ("variants:\n  debug: { base: base }", "variants: {}", r":10: variants: .*at least 1"),
            ("variants:\n  debug: { base: base }\n", "", r":1: variants: Field required"),
            (
                "variants:",
                "users:\n  - { name: a, uid: 5 }\n  - { name: a, uid: 6 }\nvariants:",
                r":12: another user has the name a already",
            ),
            (
                "variants:",
                "users:\n  - { name: a, uid: 5 }\n  - { name: b, uid: 5 }\nvariants:",
                r":12: another user has the uid 5 already",
            ),
            (
                "variants:",
                "users:\n  - { name: a, uid: 5, home: /a }\n  - { name: b, uid: 6, home: /a }\nvariants:",
                r":12: another user has the home /a already",
            ),
            ("variants:", "users: [{ name: A, uid: 5 }]\nvariants:", r":10: users\.0\.name: String should match"),
            ("variants:", "users: [{ name: a, uid: 0 }]\nvariants:", r":10: users\.0\.uid: "),
            (
                "path: /usr/local/bin/envoy",
                "path: /etc/passwd\nusers: [{ name: a, uid: 5 }]",
                r":9: another file goes to /etc/passwd already",
            ),
            ("  debug:", "  De bug:", r":11: variants\.De bug\.\[key\]: String should match"),
        ],
    )
    def test_are_told_with_file_and_line(self, tmp_path: Path, old: str, new: str, told: str) -> None:
        assert RECIPE.count(old) == 1
        own = write_recipe(tmp_path / "own", RECIPE.replace(old, new))
        with pytest.raises(RecipeError, match=rf"/own/fourth\.yaml{told}"):
            load_book(own)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("image: own\nvariants: {}\n", r":1: template: Field required, where there is neither a 'mirror' nor a 'rootfs'"),
            ("image: own\nrootfs: {}\ntags: ['1']\n", r":1: template: Field required, where there is a 'rootfs'"),
            ("image: own\nrootfs: {}\ntemplate: base.Dockerfile.j2\n", r":1: tags: Field required, where there is a 'rootfs'"),
            (
                "image: own\nrootfs: {}\ntags: ['1']\ntemplate: base.Dockerfile.j2\nusers: []\nvariants: {}\n",
                r":5: an image with a 'rootfs' has no 'users'\n.*:6: an image with a 'rootfs' has no 'variants'$",
            ),
            ("image: own\nrootfs: {}\ntags: ['1']\ntemplate: b.j2\n", r":4: there is no template 'b\.j2'"),
            ("image: own\nmirror: a/b:1\nrootfs: {}\n", r":3: a mirror is copied as it is, so it has no 'rootfs'"),
            ("image: own\nmirror: a/b:1\nvariant: {}\n", r":3: unknown key 'variant'; did you mean 'variants'\?"),
            ("image: own\nmirror: ''\n", r":2: mirror: String should have at least 1 character"),
            ("mirror: a/b:1\n", r"fourth\.yaml:1: image: Field required$"),
            ("- image\n", r"fourth\.yaml:1: the file: Input should be"),
        ],
    )
    def test_of_a_kind_of_image_are_told_with_file_and_line(self, tmp_path: Path, text: str, told: str) -> None:
        with pytest.raises(RecipeError, match=told):
            load_book(write_recipe(tmp_path / "own", text))

    @pytest.mark.parametrize(
        ("variants", "told", "hint"),
        [
            (
                "{ debug: { base: base }, distroless: { base: distroless } }",
                "there is no 'default' for 1.10 to 1.11, so",
                "Add `default: {istio: '1.10 to 1.11', base: base}`; or say beside `image` that it is for other releases: "
                "`istio: '1.12+'`.",
            ),
            (
                "{ distroless: { base: distroless } }",
                "there is no 'default' for 1.10 to 1.11, and no 'debug' for 1.12+, so",
                "Add `default: {istio: '1.10 to 1.11', base: base}`, `debug: {istio: '1.12+', base: base}`.",
            ),
            (
                "{ default: { istio: 1.10 to 1.20.6, base: base }, debug: { istio: 1.20.7+, base: base } }",
                "there is no 'debug' for 1.12 to 1.20.6, so",
                "Add `debug: {istio: '1.12 to 1.20.6', base: base}`; or say beside `image` that it is for other releases: "
                "`istio: '1.10 to 1.11, 1.20.7+'`.",
            ),
        ],
    )
    def test_an_image_without_a_plain_tag_in_some_release_is_told(
        self, tmp_path: Path, variants: str, told: str, hint: str
    ) -> None:
        recipe = RECIPE.replace("variants:\n  debug: { base: base }", f"variants: {variants}").replace("istio: 1.12+\n", "")
        with pytest.raises(RecipeError, match=rf"/own/fourth\.yaml:10: variants: {re.escape(told)}") as raised:
            load_book(write_recipe(tmp_path / "own", recipe))
        assert raised.value.hint == hint

    def test_a_mirror_without_a_plain_tag_in_some_release_is_told(self, tmp_path: Path) -> None:
        own = write_recipe(tmp_path / "own", "image: own\nmirror: a/b:1\nvariants: { debug: {} }\n")
        with pytest.raises(RecipeError, match=r":3: variants: there is no 'default' for 1\.10 to 1\.11, ") as raised:
            load_book(own)
        assert raised.value.hint.startswith("Add `default: {istio: '1.10 to 1.11'}`; or ")

    def test_what_the_hint_says_helps(self, tmp_path: Path) -> None:
        for mended in (
            RECIPE.replace("istio: 1.12+\n", "  default: {istio: '1.10 to 1.11', base: base}\n").replace(
                "debug: {", "debug: { istio: 1.12+,"
            ),
            RECIPE.replace("istio: 1.12+", "istio: '1.12+'"),
        ):
            assert load_book(write_recipe(tmp_path / "own", mended)).image("fourth").variant_names == ("debug",)

    def test_a_file_of_the_tree_cannot_be_outside_of_it(self, tmp_path: Path) -> None:
        for source in ("/etc/passwd", "../secret", "a/../../secret", ".git/config"):
            own = write_recipe(tmp_path / "own", f"{RECIPE}files:\n  - source: {source}\n    path: /a\n")
            with pytest.raises(RecipeError, match=r"fourth\.yaml:14: files\.0\.source: String should match"):
                load_book(own)


class TestSchema:
    def test_is_a_json_schema(self) -> None:
        jsonschema_rs.meta.validate(json_schema())

    @pytest.mark.parametrize("path", [*RECIPES, *BASES, *sorted(EXAMPLE.glob("*.yaml"))], ids=str)
    def test_takes_every_recipe_that_we_ship(self, path: Path) -> None:
        jsonschema_rs.validate(json_schema(), yaml.safe_load(path.read_text()))

    @pytest.mark.parametrize(
        "change",
        [
            {"entripoint": ["/a"]},
            {"image": "Pilot"},
            {"variants": {}},
            {"variants": {"debug": {"bas": "base"}}},
            {"binaries": [{"main": "./a"}]},
            {"user": 1337},
            {"users": [{"name": "a"}]},
            {"template": None},
            {"mirror": "a/b:1"},
            {"rootfs": {}, "tags": ["1"]},
            {"tags": ["1"]},
        ],
    )
    def test_refuses_what_we_refuse(self, change: dict[str, Any]) -> None:
        recipe = yaml.safe_load((ROOT / "recipes" / "pilot.yaml").read_text())
        jsonschema_rs.validate(json_schema(), recipe)
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(json_schema(), {**recipe, **change})

    def test_goes_through_json(self) -> None:
        assert json.loads(json.dumps(json_schema())) == json_schema()


class TestDocumentation:
    SECTIONS: tuple[tuple[str, type[Schema]], ...] = (
        ("## An image", AnyImage),
        ("### What is assembled", AssembledImage),
        ("### A built image", BuiltImage),
        ("### A mirror", Mirror),
        ("#### A variant of a mirror", MirrorVariant),
        ("### An image of packages", RootfsImage),
        ("### A Go program", Binary),
        ("### A file of the source", TreeFile),
        ("### A directory of the source", TreeDirectory),
        ("### A downloaded file", ArtifactFile),
        ("### A user", ImageUser),
        ("### A variant", Variant),
        ("### A root file system", Rootfs),
        ("#### An account", Account),
        ("#### A content", Content),
        ("## release.yaml", ReleaseRecipe),
        ("### A distribution", Distribution),
        ("#### An archive", Archive),
        ("### A download", Artifact),
        ("### A program for people", ProgramArchive),
        ("### A target", ArchiveTarget),
        ("### Go", Go),
    )

    @staticmethod
    def keys(heading: str) -> list[str]:
        """The keys in the table below a heading of docs/recipes.md."""
        section = DOCUMENT.partition(f"\n{heading}\n")[2]
        assert section, f"docs/recipes.md has no {heading!r}"
        table = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]
        return [key for cell in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)]

    @pytest.mark.parametrize(("heading", "model"), SECTIONS)
    def test_has_every_key_and_no_other(self, heading: str, model: type[Schema]) -> None:
        assert self.keys(heading) == list(inspect.get_annotations(model))

    def test_has_a_section_for_every_part_of_the_schema(self) -> None:
        titles = {definition["title"] for definition in json_schema()["$defs"].values()}
        files = {model.__name__ for model in (BuiltImage, Mirror, RootfsImage, ReleaseRecipe)}
        shared = {model.__name__ for model in (AnyImage, AssembledImage)}
        assert titles | files | shared == {model.__name__ for _, model in self.SECTIONS}

    @pytest.mark.parametrize(("_heading", "model"), SECTIONS)
    def test_the_schema_describes_every_key_for_editors(self, _heading: str, model: type[Schema]) -> None:
        assert [name for name, field in model.model_fields.items() if not field.description] == []

    def test_has_every_name_that_expressions_may_use(self) -> None:
        names = recipe_values(make_request(), load_book().release, make_source()) | platform_values(AMD64)
        assert set(self.keys("## Expressions")) == set(names)

    def test_shows_the_example_as_it_is(self) -> None:
        for path in EXAMPLE.iterdir():
            assert f"\n{path.read_text()}```\n" in DOCUMENT, path.name


class TestTheFourthImage:
    def test_needs_no_python(self) -> None:
        book = load_book(EXAMPLE)
        plan = make_plan(make_request(images=("echo",)), book, make_lock())
        image = image_of(plan, "echo-debug")
        assert [step.programs for step in plan.compiles] == [("echo",), ("echo",)]
        dockerfile = image.platforms[1].dockerfile.splitlines()
        assert image.base
        assert dockerfile[0] == f"FROM {image.base.reference}"
        assert 'ENV ECHO_HUB="registry.corp.example/istio"' in dockerfile
        assert 'LABEL org.opencontainers.image.version="1.29.0"' in dockerfile
        assert dockerfile[-2:] == ["USER 65532:65532", 'ENTRYPOINT ["/usr/local/bin/echo"]']
        assert [layer.archive for layer in image.platforms[1].layers] == ["1-version.tar", "2-echo.tar"]

    def test_does_not_change_the_other_three(self) -> None:
        alone = make_plan(make_request(), load_book(), make_lock()).images
        beside = make_plan(make_request(), load_book(EXAMPLE), make_lock()).images
        assert beside[:6] == alone
