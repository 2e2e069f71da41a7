"""Parity with Istio: clean on small trees in the shape of its own, and every kind of difference is caught."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from builder.errors import BuilderError
from builder.recipe.book import Recipes
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from tools.parity.__main__ import compare_release, judge
from tools.parity.__main__ import main as parity_command
from tools.parity.dockerfile import read_dockerfile
from tools.parity.intended import Intended, read_intended
from tools.parity.make import Makefile
from tools.parity.model import CouldNotRead, Difference
from tools.parity.report import ReleaseResult, list_differences, shorten
from tools.parity.shell import Script
from tools.parity.tree import Repository

TREES = Path(__file__).parent / "trees"
# The shape of a tree, and a release of that shape.
SHAPES = {"docker_yaml": "1.29.0", "make": "1.12.3", "make_with_builder": "1.13.1"}
BOTH = pytest.mark.parametrize("shape", ["docker_yaml", "make"])

DOCKERFILE = "pilot/docker/Dockerfile.proxyv2"
MAKEFILE = "Makefile.core.mk"
INTENDED = read_intended().plans


@pytest.fixture(scope="module")
def recipes() -> Recipes:
    """The real recipes of two images, as the small trees hold no more."""
    book = load_recipes()
    return replace(book, images=tuple(entry for entry in book.images if entry[0] in ("pilot", "proxyv2")))


@pytest.fixture
def compared(tmp_path: Path, recipes: Recipes) -> Iterator[Callable[..., tuple[Difference, ...]]]:
    """Compares a tree of this shape after an edit: the differences that are not intended."""
    opened: list[Repository] = []

    def compare(shape: str, path: str = "", before: str = "", after: str = "") -> tuple[Difference, ...]:
        tag = SHAPES[shape]
        opened.append(Repository(make_repository(tmp_path / f"{shape}{len(opened)}", shape, (path, before, after))))
        found = compare_release(opened[-1], tag, recipes)
        results, _ = judge([found], INTENDED, full=False)
        return tuple(difference for difference in results[0].differences if not difference.reason)

    yield compare
    for repository in opened:
        repository.close()


def make_repository(directory: Path, shape: str, edit: tuple[str, str, str] = ("", "", "")) -> Path:
    """A repository with one tag, of a small tree with one text in it changed; an empty `after` of a file removes it."""
    copy_tree(directory, shape)
    path, before, after = edit
    if path and not before:
        (directory / path).unlink()
    elif path:
        text = (directory / path).read_text()
        assert before in text, f"{before!r} is not in {path}"
        (directory / path).write_text(text.replace(before, after))
    who = {f"GIT_{role}_{what}": "someone@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    alone = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "release"], ["tag", SHAPES[shape]]):
        subprocess.run(["git", *words], cwd=directory, env={**os.environ, **who, **alone}, check=True)
    return directory


def copy_tree(directory: Path, shape: str) -> None:
    if shape in ("docker_yaml", "make"):
        shutil.copytree(TREES / shape, directory)
        return
    # 1.13 alone: make's prerequisites, and a program that writes the bake file.
    shutil.copytree(TREES / "make", directory)
    makefile = directory / MAKEFILE
    makefile.write_text(makefile.read_text().replace("1.12-dev", "1.13-dev"))
    (directory / "tools/buildx-gen.sh").unlink()
    builder = directory / "tools/docker-builder/main.go"
    builder.parent.mkdir()
    source = (TREES / "docker_yaml/tools/docker-builder/builder.go").read_text()
    source = source.replace('\t\t"ISTIO_BASE_REGISTRY": args.BaseImageRegistry,\n', "")
    builder.write_text(source + 'var none = []string{}\n\ttargets := []string{}\n\ttargets := []string{"pilot", "proxyv2"}\n')


def fields(differences: tuple[Difference, ...]) -> set[tuple[str, str, str, str]]:
    """What differs, without the release and the platform."""
    return {(each.what, each.field, each.theirs, each.ours) for each in differences}


class TestSmallTrees:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_nothing_differs_that_is_not_intended(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        assert compared(shape) == ()

    def test_a_changed_build_tag(self, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared("docker_yaml", MAKEFILE, "STANDARD_TAGS=vtprotobuf,disable_pgv", "STANDARD_TAGS=vtprotobuf")
        field = "file./usr/local/bin/pilot-discovery.tags"
        assert fields(found) == {
            (f"pilot-{variant}", field, "vtprotobuf", "disable_pgv,vtprotobuf") for variant in ("debug", "distroless")
        }

    def test_a_changed_build_tag_on_a_command_line_of_make(self, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared("make", MAKEFILE, "-tags=agent", "-tags=agent,more")
        assert ("proxyv2-debug", "file./usr/local/bin/pilot-agent.tags", "agent,more", "agent") in fields(found)

    @BOTH
    def test_a_changed_linker_flag(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared(shape, MAKEFILE, "-extldflags -static -s -w", "-extldflags -static -s")
        assert {each.field for each in found} == {
            "file./usr/local/bin/pilot-agent.ldflags",
            "file./usr/local/bin/pilot-discovery.ldflags",
        }
        assert {(each.theirs, each.ours) for each in found} == {("-extldflags -static -s", "-extldflags -static -s -w")}

    @BOTH
    def test_a_changed_stamp(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared(shape, "common/scripts/report_build_info.sh", "buildTag", "buildName")
        assert {each.field.rpartition(".")[2] for each in found} == {"buildTag", "buildName"}

    @BOTH
    def test_a_changed_flag_of_go(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared(shape, "common/scripts/gobuild.sh", "EXTRA=(-trimpath)", "EXTRA=(-trimpath -race)")
        assert {each.field.rpartition(".")[2] for each in found} == {"-race"}

    @BOTH
    def test_a_file_that_istio_no_longer_copies(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        line = "COPY envoy_bootstrap.json /var/lib/istio/envoy/envoy_bootstrap_tmpl.json\n"
        found = compared(shape, DOCKERFILE, line, "")
        place = "file./var/lib/istio/envoy/envoy_bootstrap_tmpl.json"
        assert {each.field for each in found} == {f"{place}.mode", f"{place}.source"}
        assert all(each.theirs == "" and each.ours for each in found)

    @BOTH
    def test_a_file_that_we_lack(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        line = "WORKDIR /\nCOPY envoy_bootstrap.json more/\n"
        found = compared(shape, DOCKERFILE, "WORKDIR /\n", line)
        assert {(each.field, each.theirs, each.ours) for each in found} == {
            ("file./more/envoy_bootstrap.json.mode", "0644", ""),
            ("file./more/envoy_bootstrap.json.source", "tools/packaging/common/envoy_bootstrap.json", ""),
        }

    @BOTH
    def test_another_user(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared(shape, "pilot/docker/Dockerfile.pilot", "USER 1337:1337", "USER 1337")
        assert fields(found) == {(f"pilot-{variant}", "user", "1337", "1337:1337") for variant in ("debug", "distroless")}

    @BOTH
    def test_another_entrypoint(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared(shape, DOCKERFILE, 'ENTRYPOINT ["/usr/local/bin/pilot-agent"]', "ENTRYPOINT pilot-agent")
        assert {(each.field, each.theirs) for each in found} == {("entrypoint", "/bin/sh -c pilot-agent")}

    @BOTH
    def test_another_base(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared(shape, "pilot/docker/Dockerfile.pilot", "/distroless:", "/static:")
        assert fields(found) == {("pilot-distroless", "base.name", "static", "distroless")}

    @BOTH
    def test_a_command_that_is_run_in_the_image(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared(shape, DOCKERFILE, "WORKDIR /\n", "WORKDIR /\nRUN useradd \\\n  proxy\n")
        assert {(each.field, each.theirs) for each in found} == {("run", "useradd proxy")}

    @BOTH
    def test_another_url_of_envoy(self, shape: str, compared: Callable[..., tuple[Difference, ...]]) -> None:
        path = "bin/init.sh" if shape == "docker_yaml" else MAKEFILE
        found = compared(shape, path, "storage.googleapis.com", "storage.example.com")
        assert "file./usr/local/bin/envoy.url" in {each.field for each in found}
        assert {each.field.rpartition(".")[2] for each in found} == {"url"}

    def test_an_envoy_for_one_platform_only(self, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared("docker_yaml", "bin/init.sh", 'SUFFIX="-${TARGET_ARCH}"', 'SUFFIX=""')
        assert {each.field for each in found} == {"platforms"}
        assert {(each.image, each.theirs, each.ours) for each in found} == {("proxyv2", "linux/amd64", "linux/amd64 linux/arm64")}

    @pytest.mark.parametrize(
        ("shape", "path", "before", "after"),
        [
            ("docker_yaml", "tools/docker.yaml", "name: ext-authz", "name: surprise"),
            ("make", "tools/istio-docker.mk", "docker.app_sidecar_centos_8", "docker.surprise"),
        ],
    )
    def test_an_image_that_we_do_not_know(
        self, shape: str, path: str, before: str, after: str, compared: Callable[..., tuple[Difference, ...]]
    ) -> None:
        assert fields(compared(shape, path, before, after)) == {("surprise", "image", "built", "")}

    def test_a_base_image_that_we_do_not_know(self, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared("docker_yaml", "tools/docker.yaml", "- name: distroless", "- name: surprise")
        assert fields(found) == {("surprise", "image", "built", "")}

    def test_an_image_that_istio_no_longer_builds(self, compared: Callable[..., tuple[Difference, ...]]) -> None:
        found = compared("make", "tools/istio-docker.mk", "docker.pilot docker.proxyv2", "docker.pilot")
        assert fields(found) == {("proxyv2", "image", "", "built")}

    @pytest.mark.parametrize(
        ("path", "before", "after", "said"),
        [
            (DOCKERFILE, "WORKDIR /", "WORKDIRECTORY /", "unknown instruction"),
            (DOCKERFILE, "COPY envoy_bootstrap.json", "COPY --chmod=755 envoy_bootstrap.json", "option chmod"),
            (DOCKERFILE, "COPY envoy_bootstrap.json", "COPY other.json", "the context has no other.json"),
            (DOCKERFILE, "", "", f"{DOCKERFILE} is not there"),
            ("tools/docker.yaml", "files:", "inputs:", "has inputs"),
            ("tools/docker.yaml", "images:", "pictures:", "images"),
            ("tools/docker-builder/builder.go", "baseDist,", "chooseBase(),", "BASE_DISTRIBUTION is chooseBase()"),
            (MAKEFILE, "build-linux: depend", "build-programs: depend", "no rule for build-linux"),
            (MAKEFILE, "BASE_VERSION ?= 1.29-2026-02-01T00-00-00", "BASE_VERSION ?= $(shell date)", "$(shell date)"),
            (MAKEFILE, "endif", "", "has no end"),
            ("common/scripts/gobuild.sh", "time GOOS", "time nice GOOS", "0 times"),
            ("bin/init.sh", "set -o errexit", 'if [[ "$(arch)" -lt 3 ]]; then\n  exit 1\nfi', "is not understood"),
            ("istio.deps", "lastStableSHA", "sha", "istio.deps"),
        ],
    )
    def test_what_cannot_be_read_is_a_difference(
        self, path: str, before: str, after: str, said: str, compared: Callable[..., tuple[Difference, ...]]
    ) -> None:
        found = [each for each in compared("docker_yaml", path, before, after) if each.field == "could not read"]
        assert found
        assert said in found[0].theirs

    @pytest.mark.parametrize(
        ("users", "ours"),
        [
            ([{"name": "application", "uid": 1338}], None),
            ([{"name": "application", "uid": 1338, "home": "/home/application"}], None),
            ([{"name": "application", "uid": 1339}], "useradd -m --uid 1339 application"),
            ([{"name": "applicatio", "uid": 1338}], "useradd -m --uid 1338 applicatio"),
            ([{"name": "application", "uid": 1338, "home": "/srv"}], "useradd -m --home-dir /srv --uid 1338 application"),
            ([], ""),
        ],
    )
    def test_another_user_than_istio_adds(
        self, tmp_path: Path, recipes: Recipes, users: list[dict[str, object]], ours: str | None
    ) -> None:
        edit = ("pilot/docker/Dockerfile.pilot", "USER 1337:1337", "RUN useradd -m --uid 1338 application\nUSER 1337:1337")
        images = tuple(
            (name, replace(document, data={**document.data, "users": users}) if name == "pilot" else document)
            for name, document in recipes.images
        )
        repository = Repository(make_repository(tmp_path / "tree", "docker_yaml", edit))
        try:
            found = compare_release(repository, "1.29.0", replace(recipes, images=images))
        finally:
            repository.close()
        different = {difference for difference in fields(found.differences) if difference[1] == "run"}
        theirs = "useradd -m --uid 1338 application"
        assert different == (
            set() if ours is None else {(f"pilot-{variant}", "run", theirs, ours) for variant in ("debug", "distroless")}
        )

    def test_a_wrong_recipe_is_caught_as_a_changed_istio_is(self, tmp_path: Path, recipes: Recipes) -> None:
        templates = dict(recipes.templates)
        templates["pilot.Dockerfile.j2"] = templates["pilot.Dockerfile.j2"].replace("USER {{ image.user }}\n", "")
        wrong = replace(recipes, templates=tuple(sorted(templates.items())))
        repository = Repository(make_repository(tmp_path / "tree", "docker_yaml"))
        try:
            found = compare_release(repository, "1.29.0", wrong)
        finally:
            repository.close()
        assert ("pilot-debug", "user", "1337:1337", "") in fields(found.differences)


def changed_words(recipes: Recipes, release: IstioRelease) -> Iterator[tuple[str, Recipes]]:
    """The recipes with one word changed, for each word that counts for this release; what is refused is left out."""
    documents = {"": recipes.release, **dict(recipes.images)}
    for name, document in documents.items():
        for location, word in words_of(document.data):
            other = replace(
                document, data=change_word(document.data, location, {"0755": "0700", "0644": "0600"}.get(word, f"{word}x"))
            )
            changed = replace(
                recipes,
                release=recipes.release if name else other,
                images=tuple((image, other if image == name else own) for image, own in recipes.images),
            )
            try:
                counts = changed.at(release) != recipes.at(release)
            except BuilderError:
                continue
            if counts and location != ("image",):
                yield ".".join(str(part) for part in (name, *location) if part != ""), changed


def words_of(data: Any, location: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:  # noqa: ANN401 - YAML
    if isinstance(data, str):
        yield location, data
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, entry in entries:
        yield from words_of(entry, (*location, key))


def change_word(data: Any, location: tuple[str | int, ...], word: str) -> Any:  # noqa: ANN401 - YAML
    if not location:
        return word
    changed = data.copy()
    changed[location[0]] = change_word(data[location[0]], location[1:], word)
    return changed


@BOTH
def test_every_word_of_a_recipe_counts(shape: str, tmp_path: Path, recipes: Recipes) -> None:
    tag = SHAPES[shape]
    release = IstioRelease.parse(tag)
    assert release
    repository = Repository(make_repository(tmp_path / "tree", shape))
    found = {}
    for word, changed in changed_words(recipes, release):
        results, _ = judge([compare_release(repository, tag, changed)], INTENDED, full=False)
        found[word] = any(not difference.reason for difference in results[0].differences)
    repository.close()
    assert len(found) > 30
    # Istio has nothing that these could be compared with, or an image of this tree does not use them.
    unused = r"ztunnel\..*|\S+-wasm\..*\.arm64|.*\.1|\S+\.(image|image_path|beside|(debug_)?checksum\..*|debug_file\..*)"
    other = r"archives\..*|bases\.cni-iptables.*|(base_distribution|distributions)\b.*|go\.too_new.*"
    free = rf"{other}|releases|\w+\.summary|artifacts\.({unused})"
    assert {word for word, caught in found.items() if not caught and not re.fullmatch(free, word)} == set()


class TestCommand:
    def run(self, repository: Path, *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(parity_command, ["--istio", str(repository), "--jobs", "1", *words])
        return done.exit_code, done.output

    def test_all_releases_are_compared_and_each_difference_is_told(self, tmp_path: Path) -> None:
        # The built-in recipes have images that the small tree lacks.
        status, output = self.run(make_repository(tmp_path / "tree", "docker_yaml"))
        assert status == 1
        assert "1.29.0" in output.splitlines()[1]
        assert "istioctl  image  (1.29.0)\n    theirs  (none)\n    ours    built" in output

    def test_a_tag_that_is_not_there(self, tmp_path: Path) -> None:
        status, output = self.run(make_repository(tmp_path / "tree", "docker_yaml"), "--versions", "1.28.0")
        assert status == 1
        assert "there is no tag 1.28.0" in output

    def test_a_repository_without_releases(self, tmp_path: Path) -> None:
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
        status, output = self.run(tmp_path)
        assert status == 1
        assert "no tag of a release" in output

    def test_only_stable_releases_and_the_newest_candidate_are_taken(self, tmp_path: Path) -> None:
        directory = make_repository(tmp_path / "tree", "docker_yaml")
        tags = ["1.9.9", "1.10.0", "1.29.0-rc.1", "1.30.0-rc.0", "1.30.0-rc.2", "1.30.0-beta.1", "v1.31.0"]
        for tag in tags:
            subprocess.run(["git", "tag", tag], cwd=directory, check=True)
        repository = Repository(directory)
        assert repository.releases() == ("1.10.0", "1.29.0", "1.30.0-rc.2")
        repository.close()


class TestIntended:
    def difference(self, **changes: str) -> Difference:
        values = {"release": "1.20.3", "image": "pilot", "variant": "debug", "field": "user", "theirs": "1", "ours": "2"}
        return Difference(**{**values, **changes})

    def entry(self, **changes: str) -> Intended:
        values = {"field": "user", "releases": "1.20+", "theirs": "1", "ours": "2", "reason": "for this test"}
        return Intended.model_validate({**values, **changes})

    def judge(self, entry: Intended, *differences: Difference, full: bool = True) -> tuple[bool, tuple[str, ...]]:
        result = ReleaseResult(release="1.20.3", images=("pilot",), differences=differences)
        results, stale = judge([result], [entry], full=full)
        return all(each.reason for each in results[0].differences), stale

    def test_an_entry_excuses_what_it_covers(self) -> None:
        assert self.judge(self.entry(), self.difference()) == (True, ())

    @pytest.mark.parametrize(
        "changes",
        [
            {"field": "use"},
            {"theirs": "1|3|11", "ours": ""},
            {"image": "pil"},
            {"variant": "distroless"},
            {"releases": "1.21+"},
            {"releases": "1.10 to 1.20.2"},
        ],
    )
    def test_an_entry_excuses_nothing_else_and_is_stale(self, changes: dict[str, str]) -> None:
        excused, stale = self.judge(self.entry(**changes), self.difference())
        assert not excused
        assert len(stale) == 1

    def test_no_entry_is_stale_where_only_some_releases_were_compared(self) -> None:
        assert self.judge(self.entry(), full=False) == (True, ())

    def test_every_entry_of_the_file_has_a_reason(self) -> None:
        assert all(len(entry.reason.split()) > 4 for entry in INTENDED)


class TestReport:
    def test_releases_that_follow_each_other_are_a_run(self) -> None:
        order = ["1.10.0", "1.10.1", "1.11.0", "1.12.0"]
        assert shorten(["1.10.0"], order) == "1.10.0"
        assert shorten(["1.12.0", "1.10.1", "1.10.0"], order) == "1.10.0 to 1.10.1, 1.12.0, 3 releases"

    def test_a_difference_of_several_releases_is_told_once(self) -> None:
        results = [
            ReleaseResult(
                release=release,
                images=("pilot",),
                differences=(Difference(release=release, image="pilot", variant="debug", field="user", theirs="1", ours="2"),),
            )
            for release in ("1.10.0", "1.10.1")
        ]
        lines = list(list_differences(results, intended=False))
        assert lines == ["pilot-debug  user  (1.10.0 to 1.10.1, 2 releases)", "    theirs  1", "    ours    2"]


class TestDockerfile:
    def read(self, *lines: str, **arguments: str) -> object:
        return read_dockerfile("\n".join(lines), arguments)

    def test_arguments_before_from_are_for_from_and_for_those_who_ask(self) -> None:
        stage = read_dockerfile("ARG V=1\nFROM a:${V}\nENV A=$V\nARG V\nENV B=$V C=${W:-w} D=${V:+set}", {})
        assert stage.base == "a:1"
        assert stage.env == {"A": "$V", "B": "1", "C": "w", "D": "set"}

    def test_a_build_argument_wins_over_its_default_and_is_nothing_undeclared(self) -> None:
        stage = read_dockerfile("ARG V=1\nFROM a:$V\nARG W=2\nENV A=$W B=${U:-none}", {"V": "8", "W": "9", "U": "7"})
        assert (stage.base, stage.env) == ("a:8", {"A": "9", "B": "none"})

    def test_a_stage_goes_on_from_another(self) -> None:
        stage = read_dockerfile('FROM a AS One\nUSER 7\nENV X="a b"\nFROM b\nFROM one\nWORKDIR x\nWORKDIR y\nCMD ["z"]', {})
        assert (stage.base, stage.user, stage.workdir, stage.command) == ("a", "7", "/x/y", ("z",))
        assert stage.env == {"X": "a b"}

    def test_the_old_form_of_env_and_escapes(self) -> None:
        stage = read_dockerfile('FROM a\nENV NAME some value\nLABEL a="say \\"hi\\"" b=\\$HOME', {})
        assert stage.env == {"NAME": "some value"}
        assert stage.labels == {"a": 'say "hi"', "b": "$HOME"}

    @pytest.mark.parametrize("text", ["", "RUN x", "FROM a\nCOPY x", "FROM a\n!", "FROM a\nRUN x \\", 'FROM a\nCMD ["x"', "FROM"])
    def test_what_is_not_understood_is_an_error(self, text: str) -> None:
        with pytest.raises(CouldNotRead):
            read_dockerfile(text, {})


class TestMake:
    def read(self, text: str, **given: str) -> Makefile:
        return Makefile(given, {"Makefile": text, "more.mk": "MORE=yes\n"}.get).include("Makefile")

    def test_variables_of_both_kinds(self) -> None:
        make = self.read("A := 1\nB = $(A)2\nC := $(B)\nA := 9\nD ?= 3\nE ?= 4\nC += 5\n", D="given")
        assert [make.value(name) for name in "ABCDE"] == ["9", "92", "12 5", "given", "4"]

    def test_conditionals(self) -> None:
        text = "ifeq ($(X),)\nA=none\nelse ifeq ($(X),1)\nA=one\nelse\nA=other\nendif\nifdef X\nB=set\nendif\n"
        assert [self.read(text, **given).value("A") for given in ({}, {"X": "1"}, {"X": "2"})] == ["none", "one", "other"]
        assert self.read(text).find("B") is None

    def test_functions(self) -> None:
        make = self.read(
            "L=a.c b.c\nA=$(patsubst %.c,%.o,$(L))\nB=$(L:.c=.h)\nC=$(foreach x,$(L),$(notdir d/$(x)))\n"
            "D=$(if $(filter a%,$(L)),yes,no)$(subst a,b,aa)\nE=$(or $(NONE),$(dir p/q))\n"
        )
        assert [make.value(name) for name in "ABCDE"] == ["a.o b.o", "a.h b.h", "a.c b.c", "yesbb", "p/"]

    def test_rules_add_up(self) -> None:
        make = self.read("include more.mk\n-include none.mk\nt: X=1\nt: a b | c\n\techo $(MORE)\nt: d\n")
        assert make.rule("t").prerequisites == ["a", "b", "d"]
        assert [make.expand(line) for line in make.rule("t").recipe] == ["echo yes"]

    def test_what_needs_a_running_make_never_passes_for_a_value(self) -> None:
        make = self.read("A=$(shell date)\nB=$(A)\n")
        with pytest.raises(CouldNotRead, match="without running make"):
            make.value("B")


class TestShell:
    def run(self, text: str, **variables: str) -> list[tuple[str, ...]]:
        return [call.words for call in Script(variables=dict(variables)).run(text).calls]

    def test_words(self) -> None:
        text = 'A=(x \'y z\')\nE=""\ncall "${A[@]}" ${E} "${E}" ${U:-a b} "${U:-a b}" ${V:+set} "q$V"\'$V\'\\$ "${A[1]}"\n'
        assert self.run(text, V="1") == [("call", "x", "y z", "", "a", "b", "a b", "set", "q1$V$", "y z")]

    def test_branches_and_loops(self) -> None:
        text = 'for n in 1 2; do\nif [[ "$n" == "$X" ]]; then echo is $n; elif [[ -z "$Y" ]]; then echo no; else echo y; fi\ndone'
        assert self.run(text, X="2") == [("echo", "no"), ("echo", "is", "2")]
        assert self.run(text, X="3", Y="1") == [("echo", "y"), ("echo", "y")]

    def test_functions_are_not_carried_out(self) -> None:
        assert self.run("function f() {\n  exit 1\n}\nf a # with a comment\n") == [("f", "a")]

    def test_quotes_within_expansions(self) -> None:
        assert self.run('A="${A:-$(cut -d \'"\' "x")}"\necho "$A"\n', A="v") == [("echo", "v")]

    def test_unknown_output_shows(self) -> None:
        assert self.run('echo "$(date +%s)"\n') == [("echo", "$(date +%s)")]

    @pytest.mark.parametrize(
        "text", ["exit 1", "if true; then", "${X:?needed}", 'echo "', "done", "[[ 1 -lt 2 ]] && if [ 1 -lt 2 ]; then x; fi"]
    )
    def test_what_is_not_understood_is_an_error(self, text: str) -> None:
        with pytest.raises(CouldNotRead):
            self.run(text)
