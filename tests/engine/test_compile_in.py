"""Compiling in an image for real: the programs are those that this machine makes."""

import shutil
from pathlib import Path

from tests.real.program import istio_build


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
