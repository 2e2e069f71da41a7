"""What Istio's own tree says, and which file is to blame where it says nothing."""

import json
import os
import re
from pathlib import Path

import pytest

from builder.errors import SourceError
from builder.plan.lock import SourceFacts
from builder.ports import TreeState
from builder.recipe.istio_release import IstioRelease
from builder.resolve.source import list_directory, read_source
from tests import ROOT
from tests.samples.plans import make_state

MAKEFILE = """\
export VERSION ?= 1.29-dev
# Base version of Istio image to use
BASE_VERSION ?= 1.29-2026-02-01T19-01-00
ISTIO_BASE_REGISTRY ?= gcr.io/istio-release
"""
DEPS = [
    {"_comment": "", "name": "PROXY_REPO_SHA", "repoName": "proxy", "file": "", "lastStableSHA": "a" * 40},
    {"_comment": "", "name": "ZTUNNEL_REPO_SHA", "repoName": "ztunnel", "file": "", "lastStableSHA": "b" * 40},
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that are read of Istio's tree, as they are at 1.29."""
    (tmp_path / "go.mod").write_text("module istio.io/istio\n\ngo 1.25.0\n\nrequire (\n\tgo.uber.org/zap v1.27.0\n)\n")
    (tmp_path / "Makefile.core.mk").write_text(MAKEFILE)
    (tmp_path / "VERSION").write_text("1.29\n")
    (tmp_path / "istio.deps").write_text(json.dumps(DEPS))
    return tmp_path


def read(tree: Path) -> SourceFacts:
    return read_source(tree, lambda _: make_state())


def blame(tree: Path) -> str:
    with pytest.raises(SourceError) as raised:
        read(tree)
    assert raised.value.hint
    return raised.value.message.replace(f"{tree}/", "")


def test_everything_is_read_from_the_tree(tree: Path) -> None:
    assert read(tree) == SourceFacts(
        state=make_state(),
        version="1.29",
        release=IstioRelease(1, 29, 0),
        base_version="1.29-2026-02-01T19-01-00",
        go_directive="1.25.0",
        dependencies=(("PROXY_REPO_SHA", "a" * 40), ("ZTUNNEL_REPO_SHA", "b" * 40)),
    )


def test_the_sample_tree_is_read() -> None:
    facts = read(ROOT / "examples" / "mini-istio")
    assert facts.version == "1.29"
    assert {"PROXY_REPO_SHA", "ZTUNNEL_REPO_SHA"} <= set(dict(facts.dependencies))


def test_git_is_asked_only_about_a_tree_that_is_istios(tree: Path, tmp_path: Path) -> None:
    asked: list[Path] = []

    def describe(path: Path) -> TreeState:
        asked.append(path)
        return make_state()

    read_source(tree, describe)
    assert asked == [tree]
    (tree / "go.mod").write_text("module example.org/other\n")
    with pytest.raises(SourceError):
        read_source(tree, describe)
    assert asked == [tree]


def test_an_old_release_has_its_version_in_the_makefile(tree: Path) -> None:
    (tree / "VERSION").unlink()
    assert read(tree).version == "1.29"


@pytest.mark.parametrize(
    ("line", "version"),
    [("export VERSION ?= 1.12-dev", "1.12"), ("VERSION ?= 1.10-dev", "1.10"), ("VERSION ?= 1.18.2", "1.18.2")],
)
def test_the_version_of_the_makefile_is_not_that_of_the_base(tree: Path, line: str, version: str) -> None:
    (tree / "VERSION").unlink()
    (tree / "Makefile.core.mk").write_text(f"BASE_VERSION ?= master-2026\n{line}\n")
    assert (read(tree).version, read(tree).base_version) == (version, "master-2026")


@pytest.mark.parametrize(
    ("text", "directive"),
    [
        ("module istio.io/istio\ngo 1.19\n", "1.19"),
        ("module istio.io/istio // Istio\r\ngo 1.26rc1\r\n", "1.26rc1"),
        ("// go 1.1\nmodule istio.io/istio\ngo 1.22.0 // as Kubernetes\ntoolchain go1.23.1\n", "1.22.0"),
        ('module "istio.io/istio"\n\ngo 1.24.0', "1.24.0"),
    ],
)
def test_the_go_directive_is_found(tree: Path, text: str, directive: str) -> None:
    (tree / "go.mod").write_text(text)
    assert read(tree).go_directive == directive


@pytest.mark.parametrize("name", ["go.mod", "Makefile.core.mk", "istio.deps"])
def test_a_missing_file_is_named(tree: Path, name: str) -> None:
    (tree / name).unlink()
    assert blame(tree) == f"cannot read {name}: No such file or directory"


@pytest.mark.parametrize("name", ["go.mod", "Makefile.core.mk", "istio.deps", "VERSION"])
def test_a_file_that_is_no_text_is_named(tree: Path, name: str) -> None:
    (tree / name).write_bytes(b"\xff\xfe\x00")
    assert blame(tree).startswith(f"{name} is not text")


@pytest.mark.parametrize("name", ["go.mod", "Makefile.core.mk", "istio.deps", "VERSION"])
class TestFilesThatAreNot:
    def test_a_fifo_is_not_opened(self, tree: Path, name: str) -> None:
        (tree / name).unlink()
        os.mkfifo(tree / name)
        assert blame(tree) == f"cannot read {name}: it is a device, pipe or socket, not a regular file"

    def test_a_device_is_not_opened(self, tree: Path, name: str) -> None:
        (tree / name).unlink()
        (tree / name).symlink_to("/dev/zero")
        assert blame(tree) == f"{name} leads outside of the source, to /dev/zero"

    def test_a_link_out_is_not_followed(self, tree: Path, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
        moved = tmp_path_factory.mktemp("outside") / "file"
        (tree / name).rename(moved)
        (tree / name).symlink_to(moved)
        assert blame(tree) == f"{name} leads outside of the source, to {moved}"

    def test_a_link_within_is_followed(self, tree: Path, name: str) -> None:
        whole = read(tree)
        (tree / name).rename(tree / "moved")
        (tree / name).symlink_to("moved")
        assert read(tree) == whole

    def test_a_huge_one_is_not_read(self, tree: Path, name: str) -> None:
        os.truncate(tree / name, 1 << 40)
        assert blame(tree) == f"{name} is larger than 4 MiB"


def test_a_dockerfile_is_read_as_carefully(tree: Path) -> None:
    dockerfile = tree / "pilot" / "docker" / "Dockerfile.proxyv2"
    dockerfile.parent.mkdir(parents=True)
    dockerfile.symlink_to("/etc/passwd")
    assert blame(tree) == "pilot/docker/Dockerfile.proxyv2 leads outside of the source, to /etc/passwd"


class TestListDirectory:
    def test_files_with_their_modes(self, tree: Path) -> None:
        (tree / "charts" / "b").mkdir(parents=True)
        (tree / "charts" / "b" / "run").write_text("")
        (tree / "charts" / "b" / "run").chmod(0o700)
        (tree / "charts" / "a").write_text("")
        assert list_directory(tree, "charts").files == (("a", "0644"), ("b/run", "0755"))

    def test_a_directory_outside_is_refused(self, tree: Path) -> None:
        (tree / "charts").symlink_to("/etc")
        with pytest.raises(SourceError, match="/charts leads outside of the source, to /etc"):
            list_directory(tree, "charts")

    def test_a_fifo_is_refused(self, tree: Path) -> None:
        (tree / "charts").mkdir()
        os.mkfifo(tree / "charts" / "fifo")
        with pytest.raises(SourceError, match="/charts/fifo is no ordinary file, and an image needs it"):
            list_directory(tree, "charts")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("go.mod", "module istio.io/istio\n", "go.mod lacks a `go` directive"),
        ("go.mod", "module istio.io/istio\ngo latest\n", "go.mod lacks a `go` directive"),
        ("Makefile.core.mk", "", "Makefile.core.mk lacks a line `BASE_VERSION ?= …`"),
        ("Makefile.core.mk", "BASE_VERSION ?=\n", "Makefile.core.mk lacks a line `BASE_VERSION ?= …`"),
        ("VERSION", "\n", "VERSION is empty"),
        ("istio.deps", "", "istio.deps is not what Istio keeps there"),
        ("istio.deps", "null", "istio.deps is not what Istio keeps there"),
        ("istio.deps", "{}x", "istio.deps is not what Istio keeps there"),
        ("istio.deps", "[" * 100_000, "istio.deps is not what Istio keeps there: ValueError('it is nested more than"),
        ("istio.deps", '["a"]', "istio.deps is not what Istio keeps there"),
        ("istio.deps", '{"name": "a"}', "istio.deps is not what Istio keeps there"),
        ("istio.deps", '[{"name": "PROXY_REPO_SHA"}]', "istio.deps is not what Istio keeps there: KeyError('lastStableSHA')"),
    ],
)
def test_a_malformed_file_is_named_with_what_it_lacks(tree: Path, name: str, text: str, told: str) -> None:
    (tree / name).write_text(text)
    assert blame(tree).startswith(told)


def test_without_a_version_in_either_place_both_are_named(tree: Path) -> None:
    (tree / "VERSION").unlink()
    (tree / "Makefile.core.mk").write_text("BASE_VERSION ?= 1\n")
    assert re.match(r"Makefile\.core\.mk lacks a line `VERSION \?= …`, and there is no file VERSION", blame(tree))


@pytest.mark.parametrize(
    ("text", "module"), [("module istio.io/api\n\ngo 1.22\n", "istio.io/api"), ("go 1.22\n", r"\(none\)"), ("", r"\(none\)")]
)
def test_another_projects_source_is_refused_by_its_module(tree: Path, text: str, module: str) -> None:
    (tree / "go.mod").write_text(text)
    with pytest.raises(SourceError, match=f"is not Istio's source: its go.mod says module {module}, not istio.io/istio"):
        read(tree)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="/gone is not a directory"):
        read(tmp_path / "gone")
