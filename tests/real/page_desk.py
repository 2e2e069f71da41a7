"""A reader's desk: a shell where what pages show is typed, with hosts and places of this machine in the place of theirs."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT
from tests.real.program import Ended, environment

# The releases that the pages name, from the oldest on, as a repository has them.
RELEASES = ("1.20.8", "1.29.1", "1.30.0")
# The hosts of hubs; each is a part of one registry here.
HOSTS = ("registry.corp.example", "registry.example.com", "registry.inside.example", "registry.outside.example", "ghcr.io")
# Where the pages write; the last is made by what they show.
PLACES = ("/srv/www", "/srv/istio", "/var/lib/node_exporter", "/etc/systemd/system", "/tmp/mini-istio")


@dataclass(frozen=True, slots=True)
class Parts:
    """What is on this machine: a registry, and where base images and Envoy are."""

    registry: str
    bases: str
    envoy_url: str


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a reader works, below `root`, with Istio beside it and with hubs of his own."""

    root: Path
    parts: Parts

    @property
    def home(self) -> Path:
        """The home directory, with the caches."""
        return self.root / "home"

    def words(self, text: str, page: str, hubs: str) -> str:
        """What is typed for what a page shows: hosts, places and releases by rule are those of this machine.

        Pages with the same `hubs` find at their hubs what the others have pushed; places are the page's own.
        """
        stand_ins = self._stand_ins(f"{self.parts.registry}/{self.root.name}/{hubs}", self.root / "other" / page)
        # The longest first, so that a part of a name never stands for the whole; each place once.
        longest_first = sorted(stand_ins, key=len, reverse=True)
        shown = re.compile("|".join(f"(?<![\\w./-]){re.escape(text)}(?![\\w-])" for text in longest_first))
        return shown.sub(lambda found: stand_ins[found[0]], text)

    def _stand_ins(self, registry: str, other: Path) -> dict[str, str]:
        return {
            **{host: f"{registry}/{host.replace('.', '-')}" for host in HOSTS},
            **{place: f"{other}{place}" for place in PLACES},
            "docker.io": f"{registry}/docker-io",
            # An image of anybody, which is one of ours that all have.
            "ghcr.io/me/tool:2": f"{registry}/docker-io/me/istioctl:1.29.0",
            "HUB": f"{registry}/hub",
            "127.0.0.1:5000": f"{registry}/local",
            "127.0.0.1:5000/istio-base": self.parts.bases,
            "http://127.0.0.1:8000/proxy": self.parts.envoy_url,
            "examples/make-source": str(ROOT / "examples" / "make-source"),
            "examples/recipes": str(ROOT / "examples" / "recipes"),
            # Which those are is another thing each year.
            "istio: supported": "istio: 1.29.0",
        }

    def directory(self, page: str, project: str, hubs: str) -> Path:
        """Where the commands of a page are typed: a directory of its own, with a project file."""
        path = self.root / "work" / page
        path.mkdir()
        (path / "istio-build.yaml").write_text(self.words(project, page, hubs))
        for place in PLACES[:-1]:
            (self.root / "other" / f"{page}{place}").mkdir(parents=True)
        return path

    def type(self, typed: str, where: Path, settings: Mapping[str, str]) -> Ended:
        """Run a line as the shell does, and give how it ended. Nobody answers where it asks."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", typed],
            cwd=where,
            env={**self._environment(), **settings},
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Ended(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def _environment(self) -> dict[str, str]:
        return environment(
            {
                "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
                "HOME": str(self.home),
                "XDG_CACHE_HOME": str(self.home / ".cache"),
                "DOCKER_CONFIG": str(self.home),
                # Nobody starts what is installed more than once.
                "PIP_NO_COMPILE": "1",
                "ISTIO_BUILD_GIT_URL": str(self.root / "work" / "istio"),
                "ISTIO_BUILD_BASE_REGISTRY": self.parts.bases,
                "ISTIO_BUILD_ENVOY_URL": self.parts.envoy_url,
                "ISTIO_BUILD_GO": "machine",
            }
        )


def make_desk(root: Path, parts: Parts) -> Desk:
    """Put it together below `root`, which is empty and whose name is nobody else's."""
    desk = Desk(root, parts)
    (root / "bin").mkdir()
    python, venv = shlex.quote(sys.executable), shlex.quote(str(root / "venv"))
    programs = {
        "istio-build": f'exec {python} -m builder "$@"',
        "python": f'exec {python} "$@"',
        "pip": f'[ -d {venv} ] || {python} -m venv {venv}\nexec {venv}/bin/pip "$@"',
    }
    for name, script in programs.items():
        (root / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (root / "bin" / name).chmod(0o755)
    desk.home.mkdir()
    subprocess.run([ROOT / "examples" / "make-source", desk.root / "work" / "istio", *RELEASES], check=True)
    subprocess.run(["git", "-C", desk.root / "work" / "istio", "checkout", "--quiet", "1.29.0"], check=True)
    return desk
