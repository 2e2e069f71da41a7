"""Images as a puller gets them, looked at without Docker: each program's ELF header, and this machine's programs started."""

import io
import platform as machine
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from builder.images.layers import fetch_blob
from builder.images.pull import PulledPlatform
from builder.oci.elf import read_executable
from builder.oci.layer import open_layer
from builder.oci.overlay import entry_path, find_whiteout
from builder.oci.reference import Platform, Repository
from builder.ports import RegistryReader

ISTIOCTL = "/usr/local/bin/istioctl"
ENVOY = "/usr/local/bin/envoy"
_HEAD = 64
NATIVE = Platform("linux", {"x86_64": "amd64", "aarch64": "arm64"}.get(machine.machine(), machine.machine()))


class CannotRun(Exception):
    """A program of an image does not start, or ends with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An executable ELF file of an image: its path there, its architecture, and where it lies here."""

    path: str
    architecture: str
    file: Path


class UnpackedImage:
    """One platform's image, its layers fetched and its ELF files unpacked: programs, and the libraries they need."""

    def __init__(self, repository: Repository, pulled: PulledPlatform, registry: RegistryReader, work: Path) -> None:
        self.platform = pulled.platform
        self.entrypoint = pulled.config.entrypoint
        self._root = work / pulled.manifest.digest.hex
        self._files: dict[str, str] = {}
        for layer in pulled.manifest.layers():
            blob = fetch_blob(repository, layer, work / "blobs", registry)
            self._lay(blob, layer.media_type)

    def programs(self) -> tuple[Program, ...]:
        """All executable ELF files, by path."""
        return tuple(
            Program(path=path, architecture=architecture, file=self._here(path))
            for path, architecture in sorted(self._files.items())
            if self._here(path).stat().st_mode & 0o111
        )

    def run(self, path: str, *words: str) -> str:
        """What a program prints, started as it lies in the image, with the image's own loader and libraries. Raises CannotRun."""
        program = self._here(path)
        argv = [*self._loader(program), str(program), *words]
        try:
            done = subprocess.run(argv, env={}, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotRun(f"{path} on {self.platform}: {error}") from error
        if done.returncode:
            raise CannotRun(f"{path} on {self.platform} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def remove(self) -> None:
        """Delete what was unpacked."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _loader(self, program: Path) -> list[str]:
        """The words before a dynamic program that have it loaded from the image alone; none for a static one."""
        with program.open("rb") as file:
            parts = (part for part in ELFFile(file).iter_segments("PT_INTERP") if isinstance(part, InterpSegment))
            wanted = next((part.get_interp_name() for part in parts), "")
        if not wanted:
            return []
        loader = next((path for path in self._files if PurePosixPath(path).name == PurePosixPath(wanted).name), "")
        if not loader:
            raise CannotRun(f"the image has no {wanted}, which {program.name} needs")
        folders = sorted({str(self._here(path).parent) for path in self._files if ".so" in PurePosixPath(path).name})
        return [str(self._here(loader)), "--library-path", ":".join(folders)]

    def _here(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _lay(self, blob: Path, media_type: str) -> None:
        with open_layer(blob, media_type) as tar:
            for member in tar:
                path = entry_path(member.name)
                gone = find_whiteout(path)
                self._forget([known for known in self._files if (gone.hides(known) if gone else known == path)])
                if gone is None:
                    self._take(tar, member, path)

    def _forget(self, paths: list[str]) -> None:
        for path in paths:
            del self._files[path]
            self._here(path).unlink()

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        """Keep it if it is ELF; of links those to a file beside them, as libraries have them."""
        here = self._here(path)
        if member.issym() and ".so" in here.name and "/" not in member.linkname and member.linkname not in (".", ".."):
            here.parent.mkdir(parents=True, exist_ok=True)
            here.unlink(missing_ok=True)
            here.symlink_to(member.linkname)
        content = tar.extractfile(member) if member.isreg() else None
        head = content.read(_HEAD) if content else b""
        executable = read_executable(io.BytesIO(head))
        if content is None or executable is None:
            return
        here.parent.mkdir(parents=True, exist_ok=True)
        here.unlink(missing_ok=True)
        with here.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(content, file)
        here.chmod(0o600 | (member.mode & 0o111))
        self._files[path] = executable.architecture


def foreign(image: UnpackedImage) -> Iterator[Program]:
    """The programs that would end in `exec format error` on the image's own platform."""
    return (program for program in image.programs() if program.architecture not in (image.platform.architecture, "EM_BPF"))


def questions(entrypoint: Sequence[str], programs: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """What to ask of an image: its entry point for its version, and Envoy where there is one."""
    path = entrypoint[0]
    asked: list[tuple[str, tuple[str, ...]]] = [(path, ("version", "--remote=false") if path == ISTIOCTL else ("version",))]
    return [*asked, (ENVOY, ("--version",))] if ENVOY in programs else asked
