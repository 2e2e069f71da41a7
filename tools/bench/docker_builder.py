"""Istio's own builder, `tools/docker-builder` of the source that is measured, in both of its modes."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tools.bench.envoys import Envoys
from tools.bench.process import plain_environment, run, timed
from tools.bench.work import TAG, Figures, PushCheck, Site, Work, read_dependency

MODES = ("crane", "docker")
# Its log has a line for each part: "images complete	runtime=1.9s", in Go's notation of durations.
_IMAGES = re.compile(r"images complete.*?runtime=([0-9hms.µn]+)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "µs": 1e-6, "ns": 1e-9}


@dataclass(slots=True)
class DockerBuilder:
    """A whole run of docker-builder, which runs make and then packs and pushes; the second part is a figure besides.

    Each mode has a tree of its own, as it writes into it. The hub is given to make, too, which stamps it into the programs.
    """

    site: Site
    tree: Path
    program: Path
    mode: str
    go_version: str
    checked: PushCheck = field(default_factory=PushCheck)

    @property
    def name(self) -> str:
        """The mode, and who."""
        return f"docker-builder {self.mode}"

    def take_turn(self, work: Work, *, is_new: bool) -> Figures:
        """See `Contestant.take_turn`."""
        hub, said = self._hub(work), list[str]()
        variables = self._environment(work, hub)
        seconds = timed(lambda: said.append(run(self._command(work, hub, self.mode), variables, cwd=self.tree)))
        self.checked.check(self.name, hub, work, is_new=is_new)
        figures = {self.name: seconds}
        if found := _IMAGES.search(said[0]):
            figures[f"{self.name}, images"] = parse_duration(found[1])
        return Figures(seconds=figures)

    def link(self, work: Work) -> None:
        """See `Contestant.link`. In crane mode, which leaves nothing behind but programs."""
        hub = self._hub(work)
        run(self._command(work, hub, "crane"), self._environment(work, hub), cwd=self.tree)

    def _hub(self, work: Work) -> str:
        return f"{self.site.registry.host}/{work.name}/{self.mode}"

    def _command(self, work: Work, hub: str, mode: str) -> list[str]:
        return [
            str(self.program), "--builder", mode, "--targets", ",".join(work.images), "--hub", hub, "--tag", TAG,
            "--architectures", ",".join(work.platforms), "--variants", ",".join(work.variants),
            "--image-base-registry", self.site.bases, "--push",
        ]  # fmt: skip

    def _environment(self, work: Work, hub: str) -> dict[str, str]:
        go_paths = run(["go", "env", "GOPATH", "GOMODCACHE"], os.environ).split("\n")
        return plain_environment(
            BUILD_WITH_CONTAINER="0",
            HUB=hub,
            TAG=TAG,
            REPO_ROOT=str(self.tree),
            GOPATH=go_paths[0],
            GOMODCACHE=go_paths[1],
            GOCACHE=str(work.go_cache),
            GOTOOLCHAIN=f"go{self.go_version}",
        )


def parse_duration(text: str) -> float:
    """Seconds of a duration as Go prints it: `1m2.5s`, `350ms`."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(h|ms|µs|ns|m|s)", text))


def has_docker_builder(tree: Path) -> bool:
    """Whether the tree has it: Istio from 1.13, and not the sample."""
    return (tree / "tools" / "docker-builder").is_dir()


def build_docker_builder(site: Site, tree: Path, go_cache: Path, go_version: str) -> Path:
    """Compile it as Istio does, with plain `go build`."""
    program = site.scratch / f"docker-builder-{tree.name}"
    environment = plain_environment(GOCACHE=str(go_cache), GOTOOLCHAIN=f"go{go_version}")
    run(["go", "build", "-o", str(program), "./tools/docker-builder"], environment, cwd=tree)
    return program


def place_downloads(tree: Path, envoys: Envoys) -> None:
    """Put Envoy, and a stand-in for ztunnel that goes into no image, where make would download them to."""
    proxy, ztunnel = read_dependency(tree, "PROXY_REPO_SHA"), read_dependency(tree, "ZTUNNEL_REPO_SHA")
    for architecture in ("amd64", "arm64"):
        folder = tree / "out" / f"linux_{architecture}" / "release"
        folder.mkdir(parents=True, exist_ok=True)
        for name in (f"envoy-{proxy}", "envoy"):
            # A copy each time: a link would let the file change under a layer that was made of it.
            subprocess.run(["cp", str(envoys.program(architecture)), str(folder / name)], check=True)
        for path in (folder / f"ztunnel-{ztunnel}", folder / "ztunnel", folder.parent / "ztunnel"):
            path.write_bytes(b"stand-in")
