"""What is measured: our push, the bare compiler, and plain buildx with the same files."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.engine.buildx import find_plugin


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as all contestants get it. `go_cache` holds compiled packages, `work` everything else that is kept."""

    source: Path
    hub: str
    images: tuple[str, ...]
    variants: tuple[str, ...]
    bases: str
    envoy_url: str
    go_cache: Path
    work: Path

    def arguments(self) -> list[str]:
        """The settings of `istio-build` for it."""
        images = [word for image in self.images for word in ("--image", image)]
        variants = [word for variant in self.variants for word in ("--variant", variant)]
        where = ["--hub", self.hub, "--tag", "bench", "--source", str(self.source)]
        return [*where, "--base-registry", self.bases, "--envoy-url", self.envoy_url, *images, *variants]

    def environment(self) -> dict[str, str]:
        """The machine's environment with caches of the bench's own, and bytecode kept as an installed program has it."""
        return {
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "GOCACHE": str(self.go_cache),
            "ISTIO_BUILD_CACHE": str(self.work / "cache"),
            "ISTIO_BUILD_PROGRESS": "quiet",
        }


def read_plan(job: Job) -> dict[str, Any]:
    """What istio-build would do, as JSON values: the other contestants do the same work by hand."""
    argv = [sys.executable, "-m", "builder", "plan", *job.arguments(), "--format", "json"]
    plan: dict[str, Any] = json.loads(_run(argv, job.environment()))
    return plan


def time_push(job: Job, engine: str) -> float:
    """Seconds that `istio-build push` takes with this engine, as a whole process. Each engine has a hub of its own."""
    hub = replace(job, hub=f"{job.hub}/{engine}")
    argv = [sys.executable, "-m", "builder", "push", "--engine", engine, *hub.arguments()]
    return _timed(lambda: _run(argv, job.environment()))


def time_go_build(job: Job, plan: Mapping[str, Any]) -> float:
    """Seconds of nothing but `go build`: the same flags and mains, the platforms side by side."""
    platforms: dict[str, list[Mapping[str, Any]]] = {}
    for step in plan["compiles"]:
        platforms.setdefault(step["platform"], []).append(step)

    def build_all() -> None:
        with ThreadPoolExecutor(max_workers=len(platforms)) as pool:
            list(pool.map(lambda steps: _go_build_steps(job, steps, plan["go_version"]), platforms.values()))

    return _timed(build_all)


def time_bake(job: Job, plan: Mapping[str, Any]) -> float:
    """Seconds of a plain `docker buildx bake --push` of the same files: one multi-platform target an image, COPY."""
    _stage_context(job, plan)
    definition = _bake_definition(job, plan)
    argv = [str(find_plugin(os.environ)), "bake", "--file", "-", "--push", "--progress", "plain"]
    environment = {**job.environment(), "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}
    return _timed(lambda: _run(argv, environment, json.dumps(definition)))


def _go_build_steps(job: Job, steps: Sequence[Mapping[str, Any]], go_version: str) -> None:
    for step in steps:
        _go_build(job, step, go_version)


def _go_build(job: Job, step: Mapping[str, Any], go_version: str) -> None:
    out = job.work / "bare" / step["key"]
    out.mkdir(parents=True, exist_ok=True)
    argv = [*step["argv"][:2], "-o", f"{out}/", *step["argv"][2:]]
    # The Go that istio-build takes: by default the one that the release asks for, which need not be the machine's.
    _run(argv, {**job.environment(), **step["env"], "GOTOOLCHAIN": f"go{go_version}"}, cwd=job.source)


def _stage_context(job: Job, plan: Mapping[str, Any]) -> None:
    """Link the compiled and the fetched files into one context, by architecture, as Istio's docker-copy.sh does."""
    for image in plan["images"]:
        for platform in image["platforms"]:
            folder = job.work / "context" / image["image"] / platform["platform"].partition("/")[2]
            folder.mkdir(parents=True, exist_ok=True)
            for layer in platform["layers"]:
                for file in layer["files"]:
                    target = folder / Path(file["path"]).name
                    target.unlink(missing_ok=True)
                    os.link(_origin(job, file["origin"]), target)


def _origin(job: Job, origin: Mapping[str, Any]) -> Path:
    if "program" in origin:
        return job.work / "bare" / str(origin["step"]) / str(origin["program"])
    if "source" in origin:
        copy = job.work / "bare" / Path(origin["source"]).name
        copy.write_bytes((job.source / origin["source"]).read_bytes())
        return copy
    artifact = origin["artifact"]
    cached = job.work / "cache" / "artifacts"
    return next(cached.glob(f"{artifact['sha256']}.*member"), cached / artifact["sha256"])


def _bake_definition(job: Job, plan: Mapping[str, Any]) -> dict[str, Any]:
    targets = {}
    for image in plan["images"]:
        files = [file["path"] for layer in image["platforms"][0]["layers"] for file in layer.get("files", ())]
        copies = [f"COPY $${{TARGETARCH}}/{Path(path).name} {path}" for path in files]
        targets[f"{image['image']}-{image['variant']}"] = {
            "context": str(job.work / "context" / image["image"]),
            "dockerfile-inline": "\n".join([f"FROM {image['base']['reference']}", "ARG TARGETARCH", *copies]),
            "platforms": [platform["platform"] for platform in image["platforms"]],
            "attest": ["type=provenance,disabled=true"],
            "tags": [f"{job.hub}/by-hand/{image['image']}:bench-{image['variant']}"],
        }
    return {"group": {"default": {"targets": list(targets)}}, "target": targets}


def _timed(act: Callable[[], object]) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


def _run(argv: Sequence[str], environment: Mapping[str, str], stdin: str = "", cwd: Path | None = None) -> str:
    done = subprocess.run(argv, env=dict(environment), input=stdin, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv[:4])} … ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout
