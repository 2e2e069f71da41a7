"""What Go writes into its programs of how they were built, read without starting them.

Format: `debug/buildinfo` of Go's library. A blob in the data segment begins with a magic text; since Go 1.18 the version of Go
and the build's settings follow it, before that pointers to both.
"""

import mmap
import re
import shlex
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_MAGIC = b"\xff Go buildinf:"
_ALIGNMENT = 16
_HEADER = 32
# A program's own list of modules has some kilobytes; the magic may also stand in one that looks for it.
_LONGEST = 4 * 1024 * 1024
_MOST_LOOKS = 64
# cmd/go puts 16 bytes before and behind the list of modules, so that it can be found without this blob.
_FRAME = 16
_INLINE, _BIG_ENDIAN = 2, 1
_WORD = 8
_PT_LOAD = 1
# What a -X of the linker sets ends in a zero byte, which no other text of a Go program does (cmd/link, addstrdata).
_ENDED = re.compile(rb"(?<![0-9A-Za-z.:/_+@-])[0-9A-Za-z][0-9A-Za-z.:/_+@-]{2,127}+\0")
_VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]")
_HUB = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?/[a-z0-9]|[a-z0-9.-]+:[0-9]+(/[a-z0-9]|$)|localhost/[a-z0-9]")
_REVISION = re.compile(r"[0-9a-f]{40}(-patched-[0-9a-f]{12})?(-dirty)?$")
_MOST_STAMPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class GoBuildInfo:
    """How a Go program was built: `go` as `go1.26.0`, the path of its main package, its settings such as GOARCH.

    `stamps` are values of variables that the linker set, as far as they look like a version, a commit or a hub. Their names are
    known only where the program was built without -trimpath; they are "" where not.
    """

    go: str
    path: str
    settings: tuple[tuple[str, str], ...]
    stamps: tuple[tuple[str, str], ...]


def read_build_info(program: mmap.mmap | bytes) -> GoBuildInfo | None:
    """What Go wrote into this program, None where it is no Go program. Any bytes have an answer."""
    position = 0
    for _ in range(_MOST_LOOKS):
        position = program.find(_MAGIC, position)
        if position < 0:
            return None
        if position % _ALIGNMENT == 0 and (found := _read_at(program, position)):
            go, modules = found
            path, settings, known = _parse_modules(modules)
            stamps = _flag_stamps(dict(settings).get("-ldflags", ""))
            return GoBuildInfo(go=go, path=path, settings=settings, stamps=stamps or _find_stamps(program, known))
        position += 1
    return None


def _read_at(program: mmap.mmap | bytes, position: int) -> tuple[str, str] | None:
    header = program[position : position + _HEADER]
    if len(header) < _HEADER:
        return None
    pointer_size, flags = header[14], header[15]
    if flags & _INLINE:
        go, behind = _counted(program, position + _HEADER)
        modules, _ = _counted(program, behind)
    elif pointer_size == _WORD and not flags & _BIG_ENDIAN:
        first, second = struct.unpack_from("<QQ", header, 16)
        segments = tuple(_segments(program))
        go, modules = (_go_string(program, segments, address) for address in (first, second))
    else:
        return None
    if not go.startswith((b"go", b"devel")):
        return None
    framed = len(modules) > 2 * _FRAME and modules[-_FRAME - 1 : -_FRAME] == b"\n"
    return _text(go), _text(modules[_FRAME:-_FRAME] if framed else b"")


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _counted(program: mmap.mmap | bytes, position: int) -> tuple[bytes, int]:
    """A text behind its length, which is a varint of 7 bits a byte; and the position behind it."""
    length = shift = 0
    for byte in program[position : position + 10]:
        position += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    length = min(length, _LONGEST)
    return program[position : position + length], position + length


def _segments(program: mmap.mmap | bytes) -> Iterator[tuple[int, int, int]]:
    """Address, place in the file, and length of what is loaded (System V ABI: program headers of ELF64)."""
    if len(program) < 64:
        return
    start = struct.unpack_from("<Q", program, 32)[0]
    size, count = struct.unpack_from("<HH", program, 54)
    for number in range(count if size >= 56 else 0):
        at = start + number * size
        if at + 56 > len(program):
            return
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", program, at)
        if kind == _PT_LOAD:
            yield address, offset, length


def _go_string(program: mmap.mmap | bytes, segments: tuple[tuple[int, int, int], ...], address: int) -> bytes:
    """The text of a string of Go's, whose header is the address of its bytes and their number."""
    header = _load(program, segments, address, 2 * _WORD)
    if len(header) < 2 * _WORD:
        return b""
    start, length = struct.unpack("<QQ", header)
    return _load(program, segments, start, min(length, _LONGEST))


def _load(program: mmap.mmap | bytes, segments: tuple[tuple[int, int, int], ...], address: int, length: int) -> bytes:
    for start, offset, size in segments:
        if start <= address < start + size:
            begin = offset + address - start
            return program[begin : begin + length] if begin < len(program) else b""
    return b""


def _parse_modules(text: str) -> tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The main package, the settings of the build, the modules: lines `path⇥…`, `build⇥NAME=VALUE`, `dep⇥MODULE⇥…`."""
    path, settings, modules = "", [], []
    for line in text.split("\n"):
        kind, _, rest = line.partition("\t")
        if kind == "path":
            path = rest
        elif kind in ("mod", "dep", "=>"):
            modules.append(rest.partition("\t")[0])
        elif kind == "build":
            name, _, value = rest.partition("=")
            settings.append((name.strip('"'), _unquote(value)))
    return path, tuple(settings), tuple(modules)


def _unquote(value: str) -> str:
    """What has spaces or quotes in it is quoted as Go quotes."""
    return value[1:-1].replace('\\"', '"').replace("\\\\", "\\") if len(value) > 1 and value[0] == value[-1] == '"' else value


def _flag_stamps(flags: str) -> tuple[tuple[str, str], ...]:
    """The `-X importpath.name=value` of -ldflags."""
    try:
        words = shlex.split(flags)
    except ValueError:
        return ()
    pairs = [word.removeprefix("-X=") for word in words if word.startswith("-X=")]
    pairs += [value for flag, value in pairwise(words) if flag == "-X"]
    return tuple((name, value) for name, _, value in (pair.partition("=") for pair in pairs))


def is_revision(stamp: str) -> bool:
    """Whether a stamp looks like a commit."""
    return bool(_REVISION.search(stamp))


def _find_stamps(program: mmap.mmap | bytes, modules: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    start, end = _read_only_data(program)
    found: dict[str, None] = {}
    for match in _ENDED.finditer(program, start, end):
        value = match[0][:-1].decode("ascii")
        # Paths of packages end so, too, and look like a hub.
        if (
            _VERSION.search(value)
            or _REVISION.search(value)
            or (_HUB.match(value) and not any(module in value for module in modules))
        ):
            found[value] = None
        if len(found) == _MOST_STAMPS:
            break
    return tuple(("", value) for value in found)


def _read_only_data(program: mmap.mmap | bytes) -> tuple[int, int]:
    """Where the section .rodata stands in the file; all of it where there is none (System V ABI: section headers of ELF64)."""
    whole = 0, len(program)
    if len(program) < 64:
        return whole
    start = struct.unpack_from("<Q", program, 40)[0]
    size, count, names = struct.unpack_from("<HHH", program, 58)
    sections = []
    for number in range(count if size >= 64 else 0):
        at = start + number * size
        if at + 64 > len(program):
            return whole
        name, _, _, _, offset, length = struct.unpack_from("<IIQQQQ", program, at)
        sections.append((name, offset, length))
    table = sections[names][1] if names < len(sections) else len(program)
    for name, offset, length in sections:
        if program[table + name : table + name + 8] == b".rodata\0":
            return offset, min(offset + length, len(program))
    return whole
