"""Compiling in an image for real: the programs are those that this machine makes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.engine.buildx import find_plugin
from tests.real.program import istio_build


@pytest.fixture(scope="module")
def go_image(registry: str, bases: str, go: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with this machine's Go, as golang's own are; it needs no network to compile the sample tree."""
    context = tmp_path_factory.mktemp("go-image")
    asked = [str(go), "env", "GOROOT", "GOVERSION"]
    root, version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()[:2]
    parts = ("VERSION", "go.env", "bin/go", "pkg/include", "pkg/tool", "src", "lib")
    skipped = ("--exclude=*_test.go", "--exclude=testdata")
    subprocess.run(["tar", "-C", root, *skipped, "-cf", context / "go.tar", *parts], check=True)
    (context / "Dockerfile").write_text(
        f"FROM {bases}/base:1.29-2026-02-04T19-02-21\nADD go.tar /usr/local/go/\n"
        f"ENV PATH=/usr/local/go/bin:/usr/bin:/bin GOLANG_VERSION={version.removeprefix('go')}\n"
    )
    name = f"{registry}/compile-in/golang:1"
    output = f"type=image,name={name},push=true,compression=zstd,compression-level=1"
    argv = [str(find_plugin(os.environ)), "build", "--provenance=false", "--output", output, str(context)]
    subprocess.run(argv, check=True, capture_output=True)
    return name


class TestForReal:
    def settings(self, source: Path, bases: str, output: Path) -> list[str | Path]:
        image = ("--image", "pilot", "--variant", "distroless", "--platform", "linux/arm64")
        return ["build", "--source", source, "--hub", "localhost:1/x", "--base-registry", bases, *image, "--output", output]

    def programs(self, cache: Path) -> dict[str, bytes]:
        found = cache.glob("jobs/*/programs/linux_arm64/standard/*")
        # Beside each program is the sum of what it was.
        return {path.name: path.read_bytes() for path in found if path.suffix != ".sum"}

    def test_the_program_is_the_very_one_that_the_machines_go_makes(
        self, source: Path, bases: str, go_image: str, tmp_path: Path
    ) -> None:
        made = []
        for way in (("--go", "machine"), ("--compile-in", go_image)):
            cache = tmp_path / way[0].strip("-")
            ended = istio_build(*self.settings(source, bases, tmp_path / "out"), *way, env={"ISTIO_BUILD_CACHE": str(cache)})
            assert ended.code == 0, ended.stderr
            made.append(self.programs(cache))
        assert made[0] == made[1]
        assert list(made[0]) == ["pilot-discovery"]

    def test_what_go_says_of_a_mistake_is_shown(self, source: Path, bases: str, go_image: str, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        shutil.copytree(source, tree)
        (tree / "pilot/cmd/pilot-discovery/mistake.go").write_text("package main\n\nvar x int = nothing\n")
        (tree / ".dockerignore").write_text("pilot\n")
        env = {"ISTIO_BUILD_CACHE": str(tmp_path / "cache")}
        ended = istio_build(*self.settings(tree, bases, tmp_path / "out"), "--compile-in", go_image, env=env)
        assert ended.code == 7, ended.stderr
        assert "mistake.go:3:13: undefined: nothing" in ended.stderr
