"""`istio-build explain` as it is called: without Docker, without Go, without a registry."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.real.program import istio_build


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample source, as a checkout."""
    directory = tmp_path_factory.mktemp("tree") / "mini-istio"
    subprocess.run([ROOT / "examples" / "make-source", directory], check=True)
    return directory


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment with git, and nothing else that a push would start; no host but this one is there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    nobody = "http://127.0.0.1:9"
    return {
        "PATH": str(programs),
        "DOCKER_HOST": "tcp://127.0.0.1:9",
        "HTTPS_PROXY": nobody,
        "HTTP_PROXY": nobody,
        "ISTIO_BUILD_CACHE": str(tmp_path / "cache"),
        "COLUMNS": "60",
    }


def test_text_without_docker_go_or_a_registry(tree: Path, bare: dict[str, str]) -> None:
    ended = istio_build("explain", "proxyv2", "--source", tree, env=bare)
    assert ended.code == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert "proxyv2 (debug, distroless)" in lines
    assert "\x1b" not in ended.stdout
    assert any(line.endswith("← recipes/proxyv2.yaml:6") for line in lines)
    assert "no hub is given" in " ".join(ended.stdout.split())


def test_json_of_one_variant_with_recipes_and_a_project_file_of_ones_own(
    tree: Path, tmp_path: Path, bare: dict[str, str]
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "echo.yaml").write_text((ROOT / "examples/recipes/echo.yaml").read_text())
    (tmp_path / "own" / "echo.Dockerfile.j2").write_text((ROOT / "examples/recipes/echo.Dockerfile.j2").read_text())
    (tmp_path / "own" / "pilot.yaml").write_text((ROOT / "recipes/pilot.yaml").read_text())
    (tmp_path / "istio-build.yaml").write_text(f"source: {tree}\nhub: hub.test/istio\nrecipes: own\n")
    words = ("explain", "echo", "pilot-distroless", "--output-format", "json")
    ended = istio_build(*words, env={**bare, "ISTIO_BUILD_BASE_REGISTRY": "hub.test/bases"}, cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    echo, pilot = json.loads(ended.stdout)["images"]
    assert (echo["image"], echo["variants"], pilot["variants"]) == ("echo", ["debug"], ["distroless"])
    recipe = pilot["sections"]["recipe"][0]
    assert recipe["origins"][0]["path"] == "own/pilot.yaml"
    assert recipe["parts"][0]["origins"][0]["path"] == str(ROOT / "recipes" / "pilot.yaml")
    registry = named(pilot["sections"]["bases"][0]["parts"], "base_registry")
    assert (registry["value"], registry["origins"][0]["key"]) == ("hub.test/bases", "ISTIO_BUILD_BASE_REGISTRY")
    hub = named(echo["sections"]["configuration"], "ENV ECHO_HUB")["parts"][0]["origins"][0]
    assert (hub["kind"], hub["path"], hub["line"], hub["key"]) == ("project_file", "istio-build.yaml", 2, "hub")


def named(facts: list[dict[str, Any]], name: str) -> dict[str, Any]:
    [found] = [each for each in facts if each["name"] == name]
    return found


def test_a_patched_source_is_told_where_it_was_patched(tree: Path, tmp_path: Path, bare: dict[str, str]) -> None:
    before = (tree / "Makefile.core.mk").read_text()
    (tmp_path / "bases.patch").write_text(
        "--- a/Makefile.core.mk\n+++ b/Makefile.core.mk\n@@ -1,2 +1,3 @@\n"
        f" {before.splitlines()[0]}\n+# A line more.\n-{before.splitlines()[1]}\n+BASE_VERSION ?= 1.29-patched\n"
    )
    words = ("explain", "pilot", "--source", tree, "--patch", tmp_path / "bases.patch", "--output-format", "json")
    ended = istio_build(*words, env=bare)
    assert ended.code == 0, ended.stderr
    document = json.loads(ended.stdout)
    [pilot] = document["images"]
    version = named(pilot["sections"]["bases"][0]["parts"], "base_version")
    assert (version["value"], version["origins"][0]["line"]) == ("1.29-patched", 3)
    assert Path(version["origins"][0]["path"]).read_text().splitlines()[2] == "BASE_VERSION ?= 1.29-patched"
    assert named(pilot["sections"]["recipe"], "patch")["origins"][0]["key"] == "--patch"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("pilto",), 2, "Did you mean pilot?"),
        (("pilot-distrolss",), 2, "there is no image 'pilot-distrolss'"),
        (("operator",), 2, "Istio 1.29.0 has no image operator: it is there in 1.10 to 1.23"),
        (("pilot", "--variant", "default"), 2, "there is no variant 'default'"),
        (("pilot", "--base", "bse=a.example/b:1"), 2, "there is no base 'bse'"),
        (("pilot", "--locked", "--lock", "none.lock"), 24, "there is no none.lock"),
    ],
)
def test_what_cannot_be_explained(tree: Path, bare: dict[str, str], words: tuple[str, ...], code: int, told: str) -> None:
    ended = istio_build("explain", *words, "--source", tree, env=bare)
    assert (ended.code, ended.stdout) == (code, "")
    # Folded, as the terminal is a narrow one.
    assert told in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_nothing_is_left_in_the_tree(tree: Path, bare: dict[str, str]) -> None:
    before = sorted(os.listdir(tree))
    assert istio_build("explain", "all", "--source", tree, env=bare).code == 0
    assert sorted(os.listdir(tree)) == before
