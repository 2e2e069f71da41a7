"""The work that all contestants get, and the place where they do it."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from tools.bench.process import BenchError, run
from tools.bench.registry import BenchRegistry, copy_image, read_platforms

ROOT = Path(__file__).parent.parent.parent
TAG = "bench"
PLATFORMS = ("linux/amd64", "linux/arm64")
VARIANTS = ("debug", "distroless")
IMAGES = ("istioctl", "pilot", "proxyv2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is there for all: a registry that holds base images, a server with Envoy, modules, a directory to work in."""

    registry: BenchRegistry
    scratch: Path
    source: Path
    envoy_url: str

    @property
    def bases(self) -> str:
        """Where the base images are."""
        return f"{self.registry.host}/istio-base"

    @property
    def cache(self) -> Path:
        """What istio-build keeps."""
        return self.scratch / "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be built, where it is to be pushed, and the build cache to use."""

    name: str
    go_cache: Path
    images: tuple[str, ...] = IMAGES
    variants: tuple[str, ...] = VARIANTS
    platforms: tuple[str, ...] = PLATFORMS


@dataclass(slots=True)
class Figures:
    """What one contestant's turn gave: seconds, and requests at the registry, each under a name."""

    seconds: dict[str, float] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)


class PushCheck:
    """Holds a contestant to its work: each image is at the hub, for each platform, and is another where the work was new."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def check(self, who: str, hub: str, work: Work, *, is_new: bool) -> None:
        """Raises BenchError where an image or a platform is missing, or the image is still the one of the last turn."""
        for image in work.images:
            for variant in work.variants:
                reference = f"{hub}/{image}:{TAG}-{variant}"
                digest, platforms = read_platforms(reference)
                if not platforms >= set(work.platforms):
                    found = ", ".join(sorted(platforms)) or "no index at all"
                    raise BenchError(f"{who} did not do the work: {reference} has {found}, not {', '.join(work.platforms)}")
                if is_new and self._seen.get(reference) == digest:
                    raise BenchError(f"{who} did not do the work: {reference} is still {digest}, although the source changed")
                self._seen[reference] = digest


# e_machine of an ELF header (the System V ABI and its supplements for both processors).
_MACHINES = {"linux/amd64": 62, "linux/arm64": 183}


def check_program(who: str, path: Path, platform: str) -> None:
    """Raises BenchError unless the file is an ELF program for the platform."""
    with path.open("rb") as file:
        header = file.read(20)
    if header[:4] != b"\x7fELF" or int.from_bytes(header[18:20], "little") != _MACHINES[platform]:
        raise BenchError(f"{who} did not do the work: {path.name} is no program for {platform}")


def read_dependency(tree: Path, name: str) -> str:
    """What istio.deps of a source tree pins."""
    entries: list[dict[str, str]] = json.loads((tree / "istio.deps").read_text())
    return next((entry["lastStableSHA"] for entry in entries if entry["name"] == name), "")


def read_base_version(tree: Path) -> str:
    """The tag of the base images that a source tree builds on."""
    for line in (tree / "Makefile.core.mk").read_text().splitlines():
        if line.startswith("BASE_VERSION ?= "):
            return line.removeprefix("BASE_VERSION ?= ").strip()
    raise BenchError(f"{tree / 'Makefile.core.mk'} names no BASE_VERSION")


def clone_source(source: Path | None, tree: Path) -> None:
    """A tree to change files in: a clone, or the sample; the user's own stays as it is."""
    if source is None:
        run([str(ROOT / "examples" / "make-source"), str(tree)], os.environ)
    else:
        # Shared: the objects of Istio's history are not copied.
        quiet = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--shared"]
        run([*quiet, str(source), str(tree)], os.environ)


@contextmanager
def base_images(registry: BenchRegistry, bases: str, version: str) -> Iterator[None]:
    """A registry that holds the test's base images under the tag that the source asks for, and nothing else."""
    sample = read_base_version(ROOT / "examples" / "mini-istio")
    registry.start()
    try:
        for name in ("base", "distroless", "iptables"):
            copy_image(f"{bases}/{name}:{sample}", f"{registry.host}/istio-base/{name}:{version}")
        registry.stop()
        registry.remember()
        registry.start()
        yield
    finally:
        registry.stop()


def say(words: Iterable[str]) -> None:
    """How it goes, for whoever watches."""
    click.echo("bench: " + " ".join(words), err=True)
