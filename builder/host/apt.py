"""Asks apt which packages of an archive make up what is wanted, for any architecture; installs nothing on this machine."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from builder.errors import BaseImageError
from builder.oci.reference import redact_url
from builder.ports import FoundPackage, PackageSources, PackageWishes, ProcessFailed, ProcessRunner
from builder.runtime.file_lock import locked
from builder.runtime.last_use import mark_used

_LINE = re.compile(r"^'(?P<url>[^']+)' (?P<file>\S+) \d+ SHA256:(?P<sha256>[0-9a-f]{64})$")
_SHOWN = 2000


class Apt:
    """Implements `ports.PackageFinder` with apt-get and a state of its own below `root`: no root, no chroot, no emulation.

    apt checks the archives' signatures with the keyring of the sources. Lists are kept, so that what has not changed is
    not fetched again.
    """

    def __init__(self, run: ProcessRunner, environment: Mapping[str, str], root: Path, pause: Callable[[float], None]) -> None:
        self._run = run
        self._environment = environment
        self._root = root
        self._pause = pause
        self._updated: set[PackageSources] = set()

    def find(self, sources: PackageSources, wishes: PackageWishes) -> tuple[FoundPackage, ...]:
        """See `ports.PackageFinder.find`."""
        if not Path(sources.keyring).is_file():
            raise BaseImageError(
                f"there is no keyring {sources.keyring}, so nothing can tell whether packages are genuine",
                hint=f"Install {sources.keyring_package} (the name of the Debian package).",
            )
        # One at a time for each state, be it of another thread or another run; architectures go side by side.
        with locked(self._state(sources) / "lock", self._pause):
            mark_used(self._state(sources))
            self._update(sources)
            found = self._solve(sources, wishes) if wishes.with_dependencies else ()
            alone = self._ask(sources, "download", "--print-uris", *wishes.alone) if wishes.alone else ()
        return tuple(sorted({package.url: package for package in (*found, *alone)}.values(), key=lambda p: p.file))

    def _solve(self, sources: PackageSources, wishes: PackageWishes) -> tuple[FoundPackage, ...]:
        return self._ask(sources, "install", "--print-uris", "--yes", "--no-install-recommends", *wishes.with_dependencies)

    def _state(self, sources: PackageSources) -> Path:
        text = "\n".join((sources.architecture, sources.keyring, *sources.lines))
        return self._root / hashlib.sha256(text.encode()).hexdigest()[:12]

    def _update(self, sources: PackageSources) -> None:
        if sources in self._updated:
            return
        state = self._state(sources)
        for directory in ("etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "lists/partial", "archives/partial"):
            (state / directory).mkdir(parents=True, exist_ok=True)
        # As if nothing were installed: whatever this machine has must not count.
        (state / "status").write_text("")
        lines = [
            line.replace("deb ", f"deb [arch={sources.architecture} signed-by={sources.keyring}] ", 1) for line in sources.lines
        ]
        (state / "etc/sources.list").write_text("\n".join(lines) + "\n")
        (state / "apt.conf").write_text(_configuration(state, sources.architecture))
        self._call(sources, "update", "--error-on=any")
        self._updated.add(sources)

    def _ask(self, sources: PackageSources, *words: str) -> tuple[FoundPackage, ...]:
        answer = self._call(sources, *words)
        matches = [_LINE.match(line) for line in answer.splitlines() if line.startswith("'")]
        if None in matches or not matches:
            raise BaseImageError(f"apt names packages without a sha256: {answer[:_SHOWN]}")
        return tuple(
            FoundPackage(url=found["url"], file=found["file"], sha256=found["sha256"]) for found in matches if found is not None
        )

    def _call(self, sources: PackageSources, *words: str) -> str:
        state = self._state(sources)
        environment = {**self._environment, "APT_CONFIG": str(state / "apt.conf"), "LC_ALL": "C"}
        try:
            return self._run.run(["apt-get", "--quiet", *words], cwd=state, env=environment).stdout
        except ProcessFailed as error:
            raise _explain(sources, error) from error


def _configuration(state: Path, architecture: str) -> str:
    """Read after the machine's own apt.conf.d, of which only Acquire (proxies) may matter; later words win."""
    settings = {
        "APT::Architecture": architecture,
        "APT::Get::Always-Include-Phased-Updates": "true",
        # Else it names the MD5.
        "Acquire::ForceHash": "SHA256",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Debug::NoLocking": "true",
        "Dir::Cache": str(state),
        "Dir::Etc": str(state / "etc"),
        "Dir::State": str(state),
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": str(state / "status"),
        # No unprivileged user to become: nothing here needs to be root in the first place.
        "APT::Sandbox::User": "",
    }
    lists = f'#clear APT::Architectures;\nAPT::Architectures {{ "{architecture}"; }};\n'
    return lists + "".join(f'{name} "{value}";\n' for name, value in settings.items())


def _explain(sources: PackageSources, error: ProcessFailed) -> BaseImageError:
    if error.returncode == 127:
        return BaseImageError(
            "there is no apt-get on this machine, and base images are built from packages that it finds",
            hint="Install apt (Debian and Ubuntu have it, Fedora and Arch package it), or copy the bases: --bases copy.",
        )
    lines = [line for line in error.stderr.splitlines() if line.startswith(("E:", "W:", "Err:")) or "Depends:" in line]
    lines += [line for line in error.stdout.splitlines() if "Depends:" in line]
    shown = redact_url("\n".join(lines or error.stderr.splitlines())[:_SHOWN])
    return BaseImageError(
        f"apt cannot find the packages for {sources.architecture}:\n{shown}",
        hint="Are the mirror (--apt-mirror), the suite (--base-distribution) and the names in the recipe right?",
    )
