"""Small Debian packages, written by hand: an ar archive of two tar archives."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import zstandard

from tests.samples.images import SampleFile

_COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "gz": gzip.compress,
    "": bytes,
}


def make_deb(path: Path, control: Mapping[str, str], files: Sequence[SampleFile] = (), compression: str = "xz") -> Path:
    """A package with these control files and these files; paths may be relative, as `./usr/bin/x` in real ones."""
    scripts = [SampleFile(path=f"./{name}", content=text.encode()) for name, text in control.items()]
    suffix = f".{compression}" if compression else ""
    members = {"debian-binary": b"2.0\n"}
    for name, entries in (("control", scripts), ("data", files)):
        members[f"{name}.tar{suffix}"] = _COMPRESSIONS[compression](_tar(entries))
    path.write_bytes(b"!<arch>\n" + b"".join(_member(name, content) for name, content in members.items()))
    return path


def control_of(name: str, more: str = "") -> dict[str, str]:
    """The least that dpkg asks for."""
    return {"control": f"Package: {name}\nVersion: 1\nArchitecture: all\n{more}Description: a sample\n"}


def _member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return header + content + b"\n" * (len(content) % 2)


def _tar(files: Sequence[SampleFile]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for file in files:
            member = tarfile.TarInfo(file.path)
            member.type, member.linkname, member.size = file.kind, file.target, len(file.content)
            member.mode, member.uid, member.gid, member.mtime = file.mode, file.uid, file.gid, file.mtime
            tar.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()
