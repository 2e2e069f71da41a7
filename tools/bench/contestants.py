"""Who is measured: our push with either engine, and the same done by hand with the bare compiler and plain buildx."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from builder.engine.buildx import find_plugin
from tools.bench.process import plain_environment, run, timed
from tools.bench.work import ROOT, TAG, Figures, PushCheck, Site, Work, check_program


class Contestant(Protocol):
    """Somebody who can do the work."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def tree(self) -> Path:
        """The source that it builds, to be changed before its turn."""

    def take_turn(self, work: Work, *, is_new: bool) -> Figures:
        """Do the work, timed; then be held to it, untimed. `is_new`: the images must differ from those of the last turn.

        Raises BenchError where it fails or did not do the work.
        """

    def link(self, work: Work) -> None:
        """Have the programs of this work compiled, and nothing kept of images made of them: not timed."""


@dataclass(slots=True)
class Ours:
    """`istio-build push` as a whole process."""

    site: Site
    tree: Path
    engine: str
    checked: PushCheck = field(default_factory=PushCheck)

    @property
    def name(self) -> str:
        """The engine: what the figures are called."""
        return self.engine

    def take_turn(self, work: Work, *, is_new: bool) -> Figures:
        """See `Contestant.take_turn`."""
        hub = self.hub(work)
        mark = self.site.registry.mark()
        seconds = timed(lambda: self.push(work, self.engine))
        requests = sum(self.site.registry.requests_since(mark).values())
        self.checked.check(f"istio-build with {self.engine}", hub, work, is_new=is_new)
        return Figures(seconds={self.name: seconds}, requests={self.name: requests})

    def push(self, work: Work, engine: str) -> None:
        """Push with an engine, to this contestant's hub."""
        argv = [
            sys.executable,
            "-m",
            "builder",
            "push",
            "--engine",
            engine,
            *settings(self.site, self.tree, self.hub(work), work),
        ]
        run(argv, environment(self.site, work))

    def hub(self, work: Work) -> str:
        """Each engine has its own."""
        return f"{self.site.registry.host}/{work.name}/{self.engine}"

    def link(self, work: Work) -> None:
        """See `Contestant.link`. The engine that needs no Docker, so that BuildKit has seen nothing of it, either."""
        self.push(work, "builtin")
        for job in (self.site.cache / "jobs").iterdir():
            for kept in job.iterdir():
                if kept.is_dir() and kept.name != "programs":
                    shutil.rmtree(kept)


@dataclass(slots=True)
class ByHand:
    """`go build` of the same mains with the same flags, platforms side by side; then `docker buildx bake --push` of them.

    Both are figures of their own: the first is what the others are compared with.
    """

    site: Site
    tree: Path
    name: str = "by hand"
    checked: PushCheck = field(default_factory=PushCheck)

    def take_turn(self, work: Work, *, is_new: bool) -> Figures:
        """See `Contestant.take_turn`."""
        hub = self._hub(work)
        plan, out = self._plan(work, hub), self._out(hub)
        compiled = timed(lambda: build_all(self.site, self.tree, plan, work, out))
        for step in plan["compiles"]:
            for package in step["packages"]:
                check_program("go build", out / step["key"] / Path(package).name, step["platform"])
        stage_context(self.site, self.tree, plan, out)
        baked = timed(lambda: _bake(self.site, plan, work, hub, out))
        self.checked.check("docker buildx bake", hub, work, is_new=is_new)
        return Figures(seconds={"go build": compiled, "bake": baked})

    def link(self, work: Work) -> None:
        """See `Contestant.link`."""
        # Who builds by hand has Envoy lying there: it is downloaded as ours is, for a hub that nobody is measured with.
        Ours(self.site, self.tree, "builtin").push(replace(work, name="fetch"), "builtin")
        hub = self._hub(work)
        build_all(self.site, self.tree, self._plan(work, hub), work, self._out(hub))

    def _hub(self, work: Work) -> str:
        return f"{self.site.registry.host}/{work.name}/by-hand"

    def _out(self, hub: str) -> Path:
        return self.site.scratch / "by-hand" / sha256(hub.encode()).hexdigest()[:12]

    def _plan(self, work: Work, hub: str) -> dict[str, Any]:
        # Read each time, as Envoy may be a new one, and never timed: what to build is no part of building it by hand.
        return read_plan(self.site, self.tree, hub, work)


@dataclass(slots=True)
class Imports:
    """A Python that imports four of the libraries that ours needs, and ends: a scale for what a program in Python costs."""

    tree: Path
    name: str = "imports"

    def take_turn(self, work: Work, *, is_new: bool) -> Figures:
        """See `Contestant.take_turn`."""
        argv = [sys.executable, "-c", "import click, urllib3, yaml, jinja2"]
        return Figures(seconds={self.name: timed(lambda: run(argv, plain_environment()))})

    def link(self, work: Work) -> None:
        """It has nothing to link."""


def settings(site: Site, tree: Path, hub: str, work: Work) -> list[str]:
    """The settings of `istio-build` for this work."""
    words = ["--hub", hub, "--tag", TAG, "--source", str(tree), "--base-registry", site.bases, "--envoy-url", site.envoy_url]
    for option, values in (("--image", work.images), ("--variant", work.variants), ("--platform", work.platforms)):
        words += [word for value in values for word in (option, value)]
    return words


def environment(site: Site, work: Work) -> dict[str, str]:
    """What `istio-build` and the compiler run in."""
    return plain_environment(
        GOCACHE=str(work.go_cache),
        ISTIO_BUILD_CACHE=str(site.cache),
        ISTIO_BUILD_PROGRESS="quiet",
        PYTHONPATH=str(ROOT),
    )


def read_plan(site: Site, tree: Path, hub: str, work: Work) -> dict[str, Any]:
    """What istio-build would do, as JSON values: by hand the same is done."""
    argv = [sys.executable, "-m", "builder", "plan", *settings(site, tree, hub, work), "--format", "json"]
    plan: dict[str, Any] = json.loads(run(argv, environment(site, work)))
    return plan


def build_all(site: Site, tree: Path, plan: Mapping[str, Any], work: Work, out: Path) -> None:
    """Nothing but `go build`: on each platform one after the other, the platforms side by side."""
    platforms: dict[str, list[Mapping[str, Any]]] = {}
    for step in plan["compiles"]:
        platforms.setdefault(step["platform"], []).append(step)

    def build_platform(steps: Sequence[Mapping[str, Any]]) -> None:
        for step in steps:
            folder = out / step["key"]
            folder.mkdir(parents=True, exist_ok=True)
            argv = [*step["argv"][:2], "-o", f"{folder}/", *step["argv"][2:]]
            # The Go that istio-build takes: by default the one that the release asks for, which need not be the machine's.
            # With the compiler's own defaults, whatever istio-build sets to have it work faster.
            tuned = {name: value for name, value in step["env"].items() if name not in ("GOGC", "GOMEMLIMIT", "GOMAXPROCS")}
            run(argv, {**environment(site, work), **tuned, "GOTOOLCHAIN": f"go{plan['go_version']}"}, cwd=tree)

    with ThreadPoolExecutor(max_workers=len(platforms)) as pool:
        list(pool.map(build_platform, platforms.values()))


def stage_context(site: Site, tree: Path, plan: Mapping[str, Any], out: Path) -> None:
    """Link the compiled and the fetched files into one context, by architecture, as Istio's docker-copy.sh does."""
    for image in plan["images"]:
        for platform in image["platforms"]:
            folder = out / "context" / image["image"] / platform["platform"].partition("/")[2]
            folder.mkdir(parents=True, exist_ok=True)
            for layer in platform["layers"]:
                for file in layer["files"]:
                    target = folder / Path(file["path"]).name
                    target.unlink(missing_ok=True)
                    os.link(_origin(site, tree, file["origin"], out), target)


def _origin(site: Site, tree: Path, origin: Mapping[str, Any], out: Path) -> Path:
    if "program" in origin:
        return out / str(origin["step"]) / str(origin["program"])
    if "source" in origin:
        copy = out / Path(origin["source"]).name
        copy.write_bytes((tree / origin["source"]).read_bytes())
        return copy
    artifact = origin["artifact"]
    cached = site.cache / "artifacts"
    return next(cached.glob(f"{artifact['sha256']}.*member"), cached / artifact["sha256"])


def _bake(site: Site, plan: Mapping[str, Any], work: Work, hub: str, out: Path) -> None:
    argv = [str(find_plugin(os.environ)), "bake", "--file", "-", "--push", "--progress", "plain"]
    variables = {**environment(site, work), "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}
    run(argv, variables, json.dumps(bake_definition(plan, hub, out)))


def bake_definition(plan: Mapping[str, Any], hub: str, out: Path) -> dict[str, Any]:
    """One target for all platforms of an image: FROM, and a COPY for each file."""
    targets = {}
    for image in plan["images"]:
        files = [file["path"] for layer in image["platforms"][0]["layers"] for file in layer.get("files", ())]
        copies = [f"COPY $${{TARGETARCH}}/{Path(path).name} {path}" for path in files]
        targets[f"{image['image']}-{image['variant']}"] = {
            "context": str(out / "context" / image["image"]),
            "dockerfile-inline": "\n".join([f"FROM {image['base']['reference']}", "ARG TARGETARCH", *copies]),
            "platforms": [platform["platform"] for platform in image["platforms"]],
            "attest": ["type=provenance,disabled=true"],
            "tags": [f"{hub}/{image['image']}:{TAG}-{image['variant']}"],
        }
    return {"group": {"default": {"targets": list(targets)}}, "target": targets}
