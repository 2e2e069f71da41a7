"""What Istio's build downloads: Envoy and its WebAssembly filters by bin/init.sh, ztunnel by bin/build_ztunnel.sh."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from tools.parity.model import CouldNotRead, Download
from tools.parity.shell import Script

# The archive has this one member; init.sh takes it by its path up to 1.21 and by --strip-components=3 since 1.22.
_ENVOY_MEMBER = "usr/local/bin/envoy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A downloaded file; `is_program` says that it is an ELF program, and not WebAssembly."""

    download: Download
    is_program: bool


def read_downloads(init: str, build_ztunnel: str | None, environment: Mapping[str, str]) -> dict[str, Fetched]:
    """What lies where after these scripts have run, by path. Raises CouldNotRead.

    The functions that they call are known by name: `download_envoy_if_necessary URL PATH NAME` unpacks to PATH and copies
    that to NAME beside it, `download_wasm_if_necessary URL PATH` downloads to PATH (bin/init.sh@1.10.0, @1.29.0),
    `download_ztunnel_if_necessary URL PATH NAME` downloads to PATH and copies that to NAME beside it and to
    $TARGET_OUT_LINUX/ztunnel (bin/build_ztunnel.sh@1.18.0, @1.29.0).
    """
    found: dict[str, Fetched] = {}
    script = Script(variables=dict(environment)).run(init)
    for call in script.calls_of("download_envoy_if_necessary"):
        url, path, name = _arguments(call.words, 3)
        fetched = Fetched(download=Download(url=url, member=_ENVOY_MEMBER), is_program=True)
        # The first is the release's Envoy; one for CentOS, up to 1.18, has another name.
        found |= {path: fetched, posixpath.join(posixpath.dirname(path), name): fetched}
    for call in script.calls_of("download_wasm_if_necessary"):
        url, path = _arguments(call.words, 2)
        found[path] = Fetched(download=Download(url=url), is_program=False)
    if build_ztunnel is not None:
        calls = Script(variables=dict(environment)).run(build_ztunnel).calls_of("download_ztunnel_if_necessary")
        for call in calls:
            url, path, name = _arguments(call.words, 3)
            fetched = Fetched(download=Download(url=url), is_program=True)
            beside = posixpath.join(posixpath.dirname(path), name)
            found |= {path: fetched, beside: fetched, posixpath.join(environment["TARGET_OUT_LINUX"], "ztunnel"): fetched}
    if not found:
        raise CouldNotRead("bin/init.sh downloads nothing")
    return found


def _arguments(words: tuple[str, ...], count: int) -> tuple[str, ...]:
    if len(words) != count + 1 or any("$(" in word for word in words):
        raise CouldNotRead(f"{' '.join(words)!r} is not understood")
    return words[1:]
