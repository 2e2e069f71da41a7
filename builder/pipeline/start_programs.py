"""Starts programs of images: in Docker where an engine answers, else the extracted program, where this machine can run it."""

import mmap
import platform as machine
import tempfile
import threading
from pathlib import Path
from typing import Protocol

from builder.errors import BuilderError, EngineError
from builder.images.file import fetch_from_image
from builder.oci.go_build_info import read_build_info
from builder.oci.reference import ImageReference, Platform
from builder.plan.lock import ImageArtifact
from builder.ports import ProcessFailed, ProcessRunner, RegistryReader
from builder.runtime.progress import Progress
from builder.verify.start import CannotStart

# A version is printed at once; an emulated one takes seconds.
_SILENCE_SECONDS = 60.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Containers(Protocol):
    """An engine that runs containers."""

    def ping(self) -> None:
        """Raises EngineError where none answers."""
        ...

    def run(self, reference: str, platform: Platform, command: tuple[str, ...], entrypoint: str = "") -> str:
        """What it printed. Raises EngineError."""
        ...


def native_platform() -> Platform:
    """What this machine runs without emulation."""
    name = machine.machine()
    return Platform("linux", _ARCHITECTURES.get(name, name))


class DockerStarter:
    """Implements `verify.start.Starter` with an engine, which pulls the image by its digest, and keeps it."""

    def __init__(self, engine: Containers) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._silent: str | None = None

    def __call__(self, image: ImageReference, platform: Platform, argv: tuple[str, ...]) -> str:
        """See `verify.start.Starter`."""
        self._check()
        reference = str(ImageReference(image.repository, digest=image.digest))
        try:
            return self._engine.run(reference, platform, argv[1:], entrypoint=argv[0])
        except EngineError as error:
            # Whether the program is for the right machine its header has told: this says what the engine can run.
            if "exec format error" in error.message and platform != native_platform():
                raise CannotStart(f"this engine cannot run {platform}: install qemu-user-static there") from error
            raise

    def _check(self) -> None:
        with self._lock:
            if self._silent is None:
                try:
                    self._engine.ping()
                    self._silent = ""
                except EngineError as error:
                    self._silent = error.message
        if self._silent:
            raise CannotStart(self._silent)


class ExtractedStarter:
    """Implements `verify.start.Starter` without an engine: takes the program out of the image and starts it on this machine,
    in an empty directory and environment. Only a static Go program needs nothing else of its image."""

    def __init__(self, registry: RegistryReader, runner: ProcessRunner, scratch: Path, progress: Progress) -> None:
        self._registry = registry
        self._runner = runner
        self._scratch = scratch
        self._progress = progress

    def __call__(self, image: ImageReference, platform: Platform, argv: tuple[str, ...]) -> str:
        """See `verify.start.Starter`."""
        if platform != native_platform():
            raise CannotStart(f"no Docker engine answers, and this machine is {native_platform()}")
        artifact = ImageArtifact(name="program", platform=platform, reference=image, member=argv[0])
        self._scratch.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix="verify-", dir=self._scratch) as directory,
            self._progress.task("fetch", f"{image.repository.path} {argv[0]}") as task,
        ):
            program = fetch_from_image(artifact, Path(directory), self._registry, task)
            if not _is_static_go(program):
                raise CannotStart("no Docker engine answers, and it is no static Go program")
            program.chmod(0o755)
            home = Path(directory, "home")
            home.mkdir()
            return self._start(program, argv[1:], home)

    def _start(self, program: Path, arguments: tuple[str, ...], home: Path) -> str:
        try:
            done = self._runner.run([str(program), *arguments], cwd=home, env={"HOME": str(home)}, idle_timeout=_SILENCE_SECONDS)
        except ProcessFailed as error:
            raise BuilderError(f"it ended with status {error.returncode}: {(error.stderr or error.stdout).strip()}") from error
        return done.stdout + done.stderr


def _is_static_go(program: Path) -> bool:
    with program.open("rb") as file:
        if not file.read(1):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            build = read_build_info(content)
    return build is not None and dict(build.settings).get("CGO_ENABLED", "0") == "0"
