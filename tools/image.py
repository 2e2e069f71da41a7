"""Builds istio-build's own image for both platforms and pushes it: `make image HUB=registry.corp.example/tools`.

    python -m tools.image HUB [TAG]

The base is made of Debian's packages by istio-build itself (packaging/recipes). On it come this project, what it depends on,
and Go, as wheels of each platform, which pip unpacks without running anything of them. buildx puts that together, of a Dockerfile
without RUN (packaging/Dockerfile), and pushes; so Docker has to answer. Prints the reference with its digest.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builder import __version__
from tools.demo.ground import debian_settings

ROOT = Path(__file__).parent.parent
# Its Python decides which wheels fit, and its libc which of those for Linux.
CODENAME, PYTHON = "bookworm", "3.11"
_LIBC = ("manylinux_2_36", "manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_HOME = "opt/istio-build"
_BASE = "istio-build-base"
# -P: what lies in the working directory is not imported.
_START = f"#!/usr/bin/python3 -P\nimport sys\n\nsys.path.insert(0, '/{_HOME}')\nfrom builder.__main__ import main\n\nmain()\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What it is put together of: the base as buildx takes it, a directory with each platform's archive, the commit's time."""

    base: str
    apps: Path
    mtime: int


def make_parts(work: Path) -> Parts:
    """Make them below `work`, which is empty; side by side, as each of them waits for downloads."""
    mtime = int(_run(["git", "-C", ROOT, "log", "-1", "--format=%ct"]))
    with ThreadPoolExecutor() as pool:
        base = pool.submit(build_base, work)
        wheel = build_wheel(work)
        archives = [pool.submit(make_archive, wheel, architecture, work, mtime) for architecture in _MACHINES]
        for archive in archives:
            archive.result()
        return Parts(base=base.result(), apps=work / "apps", mtime=mtime)


def build_base(work: Path) -> str:
    """The base as a layout; gives it as buildx takes it."""
    source, layouts = work / "source", work / "layouts"
    # A job has a source, though a base has nothing of it.
    _run([ROOT / "examples" / "make-source", source])
    printed = subprocess.run(["apt-get", "--print-uris", "update"], capture_output=True, text=True, check=False).stdout
    words: list[str | Path] = [
        "--source",
        source,
        "--hub",
        "hub.invalid",
        "--recipes",
        ROOT / "packaging" / "recipes",
        "--bases",
        "build",
    ]
    words += ["--image", _BASE, "--engine", "builtin", "--output", layouts, "--output-format", "json"]
    environment = {**os.environ, "ISTIO_BUILD_CACHE": str(work / "cache")}
    argv = [sys.executable, "-m", "builder", "build", *words, *debian_settings(printed, CODENAME)]
    [image] = json.loads(_run(argv, environment))["images"]
    return f"oci-layout://{image['layout']}@{image['digest']}"


def build_wheel(work: Path) -> Path:
    """This project as a wheel."""
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", work / "wheel", ROOT])
    [wheel] = (work / "wheel").glob("*.whl")
    return wheel


def make_archive(wheel: Path, architecture: str, work: Path, mtime: int) -> None:
    """What comes onto the base on one platform, as packaging/Dockerfile looks for it."""
    unpacked, archive = work / "unpacked" / architecture, work / "apps" / architecture / "app.tar"
    unpack_app(wheel, _MACHINES[architecture], unpacked)
    archive.parent.mkdir(parents=True)
    write_tar(unpacked, archive, mtime)


def unpack_app(wheel: Path, machine: str, into: Path) -> None:
    """The project and all that it needs, as it is on one kind of machine, below `into`. Nothing of it is run."""
    platforms = [word for libc in _LIBC for word in ("--platform", f"{libc}_{machine}")]
    words = ["--quiet", "--no-compile", "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *platforms]
    _run([sys.executable, "-m", "pip", "install", *words, "--target", into / _HOME, f"{wheel}[go,notify]"])
    # Scripts of packages, which name the Python of this machine.
    _run(["rm", "-rf", into / _HOME / "bin"])
    # Of Go what compiles: the sources of its own tools, and its tests, are two fifths of it.
    go = into / _HOME / "go"
    shutil.rmtree(go / "src" / "cmd")
    for tests in [*go.rglob("testdata")]:
        shutil.rmtree(tests, ignore_errors=True)
    for test in go.rglob("*_test.go"):
        test.unlink()
    start = into / "usr/local/bin/istio-build"
    start.parent.mkdir(parents=True)
    start.write_text(_START)
    start.chmod(0o755)


def write_tar(directory: Path, archive: Path, mtime: int) -> None:
    """All files below a directory, in order, owned by root, with the modes that git would know: the same each time."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(directory.rglob("*")):
            # It has the place of the wheel on this machine in it.
            if path.name in ("direct_url.json", "RECORD"):
                continue
            member = tar.gettarinfo(path, str(path.relative_to(directory)))
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = mtime
            member.mode = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") if member.isreg() else io.BytesIO() as content:
                tar.addfile(member, content if member.isreg() else None)
        for name, mode, owner in (("cache", 0o755, 65532), ("cache/home", 0o755, 65532), ("work", 0o755, 65532)):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.uid, member.gid, member.mtime = tarfile.DIRTYPE, mode, owner, owner, mtime
            tar.addfile(member)


def push_image(parts: Parts, reference: str, *more: str, architectures: Sequence[str] = tuple(_MACHINES)) -> str:
    """Put it together and push it; gives its digest. `more` are words for buildx."""
    metadata = parts.apps.with_name("metadata.json")
    # A checkout with changes is not what its commit says.
    changed = "-dirty" if _run(["git", "-C", ROOT, "status", "--porcelain"]) else ""
    revision = _run(["git", "-C", ROOT, "rev-parse", "HEAD"]).strip() + changed
    platforms = ",".join(f"linux/{architecture}" for architecture in architectures)
    argv = ["docker", "buildx", "build", "--platform", platforms, "--provenance=false", *more]
    # It is for the registry: the engine need not keep it.
    argv += ["--output", f"type=image,name={reference},push=true,store=false,oci-mediatypes=true"]
    argv += ["--build-context", f"base={parts.base}", "--metadata-file", str(metadata)]
    argv += ["--file", str(ROOT / "packaging" / "Dockerfile")]
    argv += ["--build-arg", f"VERSION={__version__}", "--build-arg", f"REVISION={revision}", str(parts.apps)]
    _run(argv, {**os.environ, "SOURCE_DATE_EPOCH": str(parts.mtime)})
    digest: str = json.loads(metadata.read_text())["containerimage.digest"]
    return digest


def _run(argv: Sequence[str | Path], environment: dict[str, str] | None = None) -> str:
    """Gives stdout; what goes to stderr is shown as it comes. Ends with the program's code where it fails."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"image: {' '.join(words[:4])} … ended with code {done.returncode}; what it says is above")
    return done.stdout


def main() -> None:
    """Build, push, print the reference."""
    if len(sys.argv) not in (2, 3) or not sys.argv[1]:
        sys.exit("image: name where it goes: make image HUB=registry.corp.example/tools")
    reference = f"{sys.argv[1].rstrip('/')}/istio-build:{sys.argv[2] if len(sys.argv) == 3 else __version__}"
    with tempfile.TemporaryDirectory(prefix="istio-build-image-") as scratch:
        digest = push_image(make_parts(Path(scratch)), reference)
    print(f"{reference}@{digest}")


if __name__ == "__main__":
    main()
