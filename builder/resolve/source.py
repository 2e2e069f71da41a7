"""Reads what Istio's own tree says: versions, dependencies, the Go it wants."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from builder.errors import SourceError
from builder.plan.lock import ListedDirectory, SourceFacts
from builder.ports import TreeState
from builder.recipe.istio_release import IstioRelease
from builder.runtime.json_document import parse_json
from builder.runtime.regular_file import open_regular
from builder.runtime.tree_links import find_inside

_MODULE = "istio.io/istio"
# Of what is read as text; Istio's own are at most 40 kB.
_LARGEST_TEXT = 4 << 20
BASE_VERSION = re.compile(r"^BASE_VERSION \?= *(\S+)", re.MULTILINE)
# The literal of 1.10 to 1.18; later ones read the file VERSION. Anchored, because BASE_VERSION ends the same way.
VERSION = re.compile(r"^(?:export )?VERSION \?= *(\d\S*?)(?:-dev)?$", re.MULTILINE)
GO_DIRECTIVE = re.compile(r"^go (\d+\.\d+(?:\.\d+)?(?:rc\d+|beta\d+)?)\s*(?://.*)?$", re.MULTILINE)
# Up to 1.22 distroless bases are pinned in these Dockerfiles, and not always to the same digest (1.20.8, 1.21.3).
PIN = re.compile(r"^FROM \S+/iptables@(sha256:[0-9a-f]{64})", re.MULTILINE)
PINNING = {"proxyv2": "pilot/docker", "ztunnel": "pilot/docker", "install-cni": "cni/deployments/kubernetes"}
_LOCAL_REPLACE = re.compile(r"^[^/\n]*[^\n]*=>[ \t]*(?:\.{1,2}/|/)", re.MULTILINE)
_MODULE_LINE = re.compile(r"""^module "?([^\s"]+)"?""", re.MULTILINE)


def read_source(tree: Path, describe: Callable[[Path], TreeState]) -> SourceFacts:
    """The facts of a tree; git is asked (`describe`) once the tree is known to be Istio's.

    Raises SourceError naming the file where the tree is not Istio's or lacks something.
    """
    if not tree.is_dir():
        raise SourceError(f"{tree} is not a directory", hint="--source names a checkout of istio/istio.")
    go_mod = read_text(tree, "go.mod")
    module = _MODULE_LINE.search(go_mod)
    if not module or module[1] != _MODULE:
        raise SourceError(
            f"{tree} is not Istio's source: its go.mod says module {module[1] if module else '(none)'}, not {_MODULE}",
            hint="--source names a checkout of istio/istio, or of a fork that keeps the module's name.",
        )
    makefile = read_text(tree, "Makefile.core.mk")
    version, state = _version(tree, makefile), describe(tree)
    return SourceFacts(
        state=state,
        version=version,
        release=_release(version, state, tree),
        base_version=_find(BASE_VERSION, makefile, tree / "Makefile.core.mk", "a line `BASE_VERSION ?= …`"),
        go_directive=_find(GO_DIRECTIVE, go_mod, tree / "go.mod", "a `go` directive"),
        dependencies=_dependencies(tree),
        pins=_pins(tree),
    )


def bind_state(found: SourceFacts, state: TreeState, tree: Path) -> SourceFacts:
    """The facts of this tree, with what git said of it at another time: later tags at the same commit change nothing."""
    return replace(found, state=state, release=_release(found.version, state, tree))


def list_directory(tree: Path, source: str) -> ListedDirectory:
    """All files below a directory of the tree, with the modes that git knows. Raises SourceError."""
    root = find_inside(tree, source)
    paths = sorted(path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    links = [path for path in paths if not path.is_file() or path.is_symlink()]
    if not paths or links:
        what = f"{links[0]} is no ordinary file" if links else f"{tree / source} is not there, or empty"
        raise SourceError(f"{what}, and an image needs it", hint="Is this a complete checkout of an Istio release?")
    # Only whether a file can be executed is the tree's own; the rest is the umask of whoever checked it out.
    modes = [(str(path.relative_to(root)), "0755" if path.stat().st_mode & 0o100 else "0644") for path in paths]
    return ListedDirectory(source=source, files=tuple(modes))


def _release(version: str, state: TreeState, tree: Path) -> IstioRelease:
    """The tag at HEAD or the nearest before it, where it is of the tree's own line; else the newest of that line."""
    line = IstioRelease.of_line(version)
    if line is None:
        raise SourceError(
            f"{tree}: {version!r} is no version of Istio", hint="Istio keeps its minor version in the file VERSION, such as 1.29."
        )
    for tag in (state.tag, re.sub(r"-\d+-g[0-9a-f]+$", "", state.description)):
        tagged = IstioRelease.parse(tag)
        if tagged and tagged.line == line.line:
            return tagged
    return line


def _pins(tree: Path) -> tuple[tuple[str, str], ...]:
    """The digest of `iptables`, by the image whose Dockerfile stands on it."""
    paths = {image: f"{directory}/Dockerfile.{image}" for image, directory in PINNING.items()}
    texts = {image: read_text(tree, path) for image, path in paths.items() if (tree / path).is_file()}
    return tuple((image, found[1]) for image, text in texts.items() if (found := PIN.search(text)))


def reaches_outside(tree: Path) -> bool:
    """Whether go.mod replaces a module by a directory: then the commit does not decide what is compiled."""
    return bool(_LOCAL_REPLACE.search(read_text(tree, "go.mod")))


def _version(tree: Path, makefile: str) -> str:
    if (tree / "VERSION").exists():
        version = read_text(tree, "VERSION").strip()
        if version:
            return version
        raise SourceError(f"{tree / 'VERSION'} is empty", hint="Istio keeps its minor version there, such as 1.29.")
    return _find(VERSION, makefile, tree / "Makefile.core.mk", "a line `VERSION ?= …`, and there is no file VERSION")


def _dependencies(tree: Path) -> tuple[tuple[str, str], ...]:
    path = tree / "istio.deps"
    try:
        entries = parse_json(read_text(tree, "istio.deps"))
        return tuple(sorted((str(entry["name"]), str(entry["lastStableSHA"])) for entry in entries))
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"{path} is not what Istio keeps there: {error!r}",
            hint="It is a JSON list of objects with name and lastStableSHA.",
        ) from error


def _find(pattern: re.Pattern[str], text: str, path: Path, wanted: str) -> str:
    found = pattern.search(text)
    if not found:
        raise SourceError(f"{path} lacks {wanted}", hint="Is this a complete checkout of an Istio release?")
    return found[1]


def read_text(tree: Path, name: str) -> str:
    """A file of the tree. Raises SourceError where it is not there, or is no text of a bearable size."""
    try:
        with open_regular(find_inside(tree, name)) as file:
            content = file.read(_LARGEST_TEXT + 1)
        if len(content) > _LARGEST_TEXT:
            raise SourceError(
                f"{tree / name} is larger than {_LARGEST_TEXT >> 20} MiB",
                hint="Is this an undamaged checkout of an Istio release?",
            )
        # Lines may end as on Windows, as in any text file.
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise SourceError(
            f"cannot read {tree / name}: {error.strerror}",
            hint="--source names a complete checkout of istio/istio.",
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{tree / name} is not text: {error}", hint="Is this an undamaged checkout of an Istio release?"
        ) from error
