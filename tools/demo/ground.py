"""What the main job needs of the world, on loopback and for as long as the demo runs: a registry, base images, Envoy, Go."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

from tools.parts import provide_envoy, provide_go
from tools.registry import serving
from tools.serve_artifacts import ArtifactHandler

ROOT = Path(__file__).parent.parent.parent
SAMPLE = ROOT / "examples" / "mini-istio"
# In place of the built-in recipe of that name.
RECIPES = Path(__file__).parent / "recipes"
_KEYRINGS = Path("/usr/share/keyrings")
# One line of `apt-get --print-uris update`: where a suite of this machine's own archives is described.
_SUITE = re.compile(r"^'(?P<site>\S+)/dists/(?P<suite>[^/']+)/InRelease'", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The registry's address, where Envoy is served, a source, and the environment to run istio-build in."""

    registry: str
    envoy_url: str
    source: Path
    work: Path
    environment: dict[str, str]

    @property
    def bases(self) -> str:
        """Where base images go."""
        return f"{self.registry}/istio-base"

    def istio_build(self, *words: str, cache: str, shown: bool = True) -> list[str]:
        """Run it as a user would, with a cache of this name below our directory; gives the lines of its stdout.

        Its progress goes to the terminal. Ends the demo with its exit code where it fails.
        """
        if shown:
            print(f"$ istio-build {' '.join(words)}", flush=True)
        environment = {**self.environment, "ISTIO_BUILD_CACHE": str(self.work / cache)}
        argv = [sys.executable, "-m", "builder", *words]
        done = subprocess.run(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        return done.stdout.splitlines()


@contextmanager
def prepared(state: Path, work: Path) -> Iterator[Ground]:
    """Fetch what `state` does not have yet, and serve it all. What runs ends with the demo; downloads stay in `state`."""
    cache = state / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    go = provide_go(cache, SAMPLE)
    source = work / "mini-istio"
    subprocess.run([ROOT / "examples" / "make-source", source], check=True)
    # Compiled packages are kept for the next time; not in the user's own cache, in which they would stay.
    environment = {"GOCACHE": str(cache / "go-build"), **_without_settings(), "PYTHONPATH": str(ROOT)}
    if go:
        environment["PATH"] = f"{go}{os.pathsep}{environment.get('PATH', '')}"
    with _registry(cache, work / "registry") as registry, _files(provide_envoy(cache, SAMPLE)) as files:
        yield Ground(registry=registry, envoy_url=f"{files}/proxy", source=source, work=work, environment=environment)


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ISTIO_BUILD_")}


@contextmanager
def _registry(cache: Path, directory: Path) -> Iterator[str]:
    """At the port of last time if it is free: the hub is stamped into what is built for it, so the digests are the same."""
    port_file = cache / "demo.port"
    port = int(port_file.read_text()) if port_file.exists() else 0
    try:
        server = serving(directory, port)
        host = server.__enter__()
    except OSError:
        server = serving(directory)
        host = server.__enter__()
    try:
        port_file.write_text(host.rpartition(":")[2])
        yield host
    finally:
        server.__exit__(None, None, None)


class _QuietHandler(ArtifactHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """istio-build says what it fetches."""


@contextmanager
def _files(directory: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def base_settings(ground: Ground) -> list[str]:
    """Fill the registry with base images, made here of packages; gives the settings by which the main job finds them.

    Where this machine has no package archive, Istio's own on Docker Hub are taken, and there is nothing to set.
    """
    archive = _archive()
    if archive is None:
        print("no apt-get, or no keyring of Debian or Ubuntu, here: Istio's own base images are taken from Docker Hub")
        return []
    what = ("--image", "bases", "--bases", "build", "--recipes", str(RECIPES))
    settings = ("--source", str(ground.source), "--hub", ground.bases, "--engine", "builtin")
    ground.istio_build("push", *settings, *what, *archive, cache="bases")
    return ["--base-registry", ground.bases]


def _archive() -> Sequence[str] | None:
    """The settings for this machine's own distribution, whose archives are near and known to it."""
    try:
        words = ["apt-get", "--print-uris", "update"]
        printed = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        codename = _release_field("VERSION_CODENAME")
    except OSError:
        return None
    if (_KEYRINGS / "debian-archive-keyring.gpg").exists() and _release_field("ID") == "debian":
        return debian_settings(printed, codename)
    return [] if (_KEYRINGS / "ubuntu-archive-keyring.gpg").exists() else None


def debian_settings(printed: str, codename: str) -> list[str]:
    """Debian of this codename from where `apt-get --print-uris update` says; where it does not, from Debian itself."""
    sites = {match["suite"]: match["site"] for match in reversed(list(_SUITE.finditer(printed)))}
    main = sites.get(codename, "http://deb.debian.org/debian")
    security = sites.get(f"{codename}-security", "http://deb.debian.org/debian-security")
    mirrors = ("--apt-mirror", f"debian={main}", "--apt-mirror", f"debian-security={security}")
    return ["--base-distribution", f"debian:{codename}", *mirrors]


def _release_field(name: str) -> str:
    found = re.search(rf'^{name}="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else ""
