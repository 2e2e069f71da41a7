"""Records in an image which packages it is made of: for dpkg and apt, or for scanners alone. Pure: control files in, texts out.

Formats: deb-control(5), dpkg's doc/ and deb-triggers(5); `status.d` is that of Google's distroless images, which Trivy,
Grype and Syft read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ROOT = "/var/lib/dpkg"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedPackage:
    """A package of an image: its control files with their modes, the paths it installs, the MD5 of its conffiles."""

    control: Mapping[str, tuple[bytes, int]]
    paths: tuple[str, ...]
    conffiles: tuple[tuple[str, str], ...]

    @property
    def fields(self) -> str:
        """The text of its control file."""
        return self.control["control"][0].decode().strip() + "\n"

    def field(self, name: str) -> str:
        """One field of it, "" where there is none."""
        lines = (line.partition(":") for line in self.fields.splitlines())
        return next((value.strip() for key, _, value in lines if key.lower() == name.lower()), "")

    @property
    def name(self) -> str:
        """How dpkg names its files: with the architecture where several may be installed side by side."""
        name = self.field("Package")
        return f"{name}:{self.field('Architecture')}" if self.field("Multi-Arch") == "same" else name


def list_conffiles(control: Mapping[str, tuple[bytes, int]]) -> tuple[str, ...]:
    """The paths of a package's conffiles; those that it gives up have a flag before them."""
    lines = control.get("conffiles", (b"", 0))[0].decode().splitlines()
    return tuple(line for line in lines if line.startswith("/"))


def write_distroless(packages: Sequence[UnpackedPackage]) -> dict[str, tuple[bytes, int]]:
    """Contents and modes by path: one file a package, and its list of sums, below status.d."""
    files = {}
    for package in packages:
        name = package.field("Package")
        files[f"{_ROOT}/status.d/{name}"] = (package.fields.encode(), 0o644)
        if "md5sums" in package.control:
            files[f"{_ROOT}/status.d/{name}.md5sums"] = (package.control["md5sums"][0], 0o644)
    return files


def write_dpkg(packages: Sequence[UnpackedPackage]) -> dict[str, tuple[bytes, int]]:
    """Contents and modes by path: all packages as installed, so that apt can add others in the image."""
    files = {f"{_ROOT}/info/format": (b"1\n", 0o644), f"{_ROOT}/available": (b"", 0o644)}
    for package in packages:
        listed = "".join(f"{path}\n" for path in ("/.", *package.paths))
        files[f"{_ROOT}/info/{package.name}.list"] = (listed.encode(), 0o644)
        for name, (content, mode) in package.control.items():
            if name != "control":
                files[f"{_ROOT}/info/{package.name}.{name}"] = (content, mode & 0o777)
    status = "\n".join(_paragraph(package) for package in sorted(packages, key=lambda package: package.name))
    files[f"{_ROOT}/status"] = (status.encode(), 0o644)
    return files | _triggers(packages)


def md5(content: bytes) -> str:
    """The sum that dpkg compares conffiles by."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _paragraph(package: UnpackedPackage) -> str:
    first, _, rest = package.fields.partition("\n")
    conffiles = "".join(f"\n {path} {sum_}" for path, sum_ in package.conffiles)
    return f"{first}\nStatus: install ok installed\n{rest}" + (f"Conffiles:{conffiles}\n" if conffiles else "")


def _triggers(packages: Sequence[UnpackedPackage]) -> dict[str, tuple[bytes, int]]:
    """Who is to be told of what: paths in one file, names in a file each."""
    paths: list[str] = []
    named: dict[str, list[str]] = {}
    for package in packages:
        for line in package.control.get("triggers", (b"", 0))[0].decode().splitlines():
            kind, _, subject = line.partition(" ")
            if not kind.startswith("interest"):
                continue
            who = f"{package.name}/noawait" if kind.endswith("-noawait") else package.name
            if subject.startswith("/"):
                paths.append(f"{subject} {who}\n")
            else:
                named.setdefault(subject, []).append(f"{who}\n")
    files = {f"{_ROOT}/triggers/{subject}": ("".join(sorted(who)).encode(), 0o644) for subject, who in named.items()}
    return files | {f"{_ROOT}/triggers/File": ("".join(sorted(paths)).encode(), 0o644)}
