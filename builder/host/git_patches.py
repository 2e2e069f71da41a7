"""Applies patches in an index of our own and writes what comes of it as a tree beside others: no work tree is touched.

An index holds paths and contents and follows no link, so a patch cannot reach out of the tree, and git refuses the names that
would (`../x`, `/x`, `.git/x`). Git runs nothing here: it knows no configuration but ours (see `git_view`).
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import PatchError, SourceError
from builder.host.git_description import AskGit
from builder.ports import ProcessFailed

# Environment of git: whoever patches a tree, and wherever, its lines end as the repository has them.
LINES_AS_COMMITTED = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.autocrlf",
    "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "core.eol",
    "GIT_CONFIG_VALUE_1": "lf",
}
# In the mode of a link, and of a commit of another repository.
_NO_FILES = {"120000": "a symbolic link", "160000": "a submodule"}
_FAILED = re.compile(r"error: patch failed: (.+):(\d+)$")
_SHOWN_LINES = 6
_SHOWN_PROBLEMS = 5
# A patched tree is made anew in seconds, and that of real Istio has some 100 MB.
_KEPT_SECONDS = 30 * 24 * 3600.0


def apply_patches(git: AskGit, patches: Sequence[tuple[str, bytes]], scratch: Path) -> str:
    """Apply these patches (name and content), in order, to git's index; gives the tree id that comes of it.

    `scratch` is a directory of nobody else's. Raises PatchError for the first that does not apply, or makes what is no file.
    """
    before = git("write-tree", "--missing-ok")
    applied: list[str] = []
    for number, (name, content) in enumerate(patches):
        # What was summed is what is applied, whatever becomes of the file.
        path = scratch / f"{number}.patch"
        path.write_bytes(content)
        try:
            git("apply", "--cached", "--verbose", "--whitespace=nowarn", str(path))
        except SourceError as error:
            raise _explain(git, name, path, content, applied, error) from error
        after = git("write-tree", "--missing-ok")
        _refuse_links(git, name, before, after)
        before = after
        applied.append(name)
    return before


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedTrees:
    """Patched trees by their git tree id, below `root`, which is locked meanwhile.

    `index` is the one that the patches are in; `ask(words, work_tree, index)` runs git with these two.
    """

    root: Path
    index: Path
    ask: Callable[[Sequence[str], Path, Path], str]

    def provide(self, content: str) -> Path:
        """The tree of this id: the one that is there and is still what was written, else written now."""
        home = self.root / content
        if not self._is_whole(home):
            self._sweep()
            self._write(home)
        os.utime(home)
        return home / "tree"

    def _is_whole(self, home: Path) -> bool:
        """Whether each file is as it was written, and none is there besides. Git compares as with any work tree."""
        tree, index = home / "tree", home / "index"
        if not (tree.is_dir() and index.is_file()):
            return False
        try:
            self.ask(("diff-files", "--quiet"), tree, index)
            return not self.ask(("ls-files", "--others"), tree, index)
        except SourceError:
            return False

    def _write(self, home: Path) -> None:
        partial = home.with_name(f"{home.name}.partial")
        try:
            (partial / "tree").mkdir(parents=True)
            self.ask(("checkout-index", "--all", "--force", "--index"), partial / "tree", self.index)
            shutil.copy2(self.index, partial / "index")
            shutil.rmtree(home, ignore_errors=True)
            partial.rename(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _sweep(self) -> None:
        """What a run that was killed has left goes, and what nobody has asked for in a month."""
        for path in self.root.glob("*"):
            is_old = path.is_dir() and time.time() - path.stat().st_mtime > _KEPT_SECONDS
            if is_old or path.name.endswith(".partial"):
                shutil.rmtree(path, ignore_errors=True)


def _refuse_links(git: AskGit, name: str, before: str, after: str) -> None:
    listed = git("diff-tree", "-r", "-z", "--no-renames", before, after).split("\0")
    for entry, path in zip(listed[::2], listed[1::2], strict=False):
        kind = _NO_FILES.get(entry.split()[1])
        if kind:
            raise PatchError(
                f"{name} makes {_show(path)} {kind}, which could lead out of the source",
                hint="A patch may change, add and remove files alone: have it make the file itself.",
            )


def _explain(git: AskGit, name: str, path: Path, content: bytes, applied: Sequence[str], error: SourceError) -> PatchError:
    said = error.__cause__.stderr if isinstance(error.__cause__, ProcessFailed) else error.message
    problems = list(_problems(said, _hunks(content)))
    more = [f"  … and {len(problems) - _SHOWN_PROBLEMS} more"] if len(problems) > _SHOWN_PROBLEMS else []
    before = f"applied before it: {', '.join(applied)}" if applied else "none was applied before it"
    return PatchError(
        "\n".join((f"{name} does not apply; {before}", *problems[:_SHOWN_PROBLEMS], *more)),
        hint="The source has all of it already: leave the patch out."
        if _is_reverse(git, path)
        else "Make it anew against this very commit, with `git diff` or `git format-patch`; what it stands on comes before it.",
    )


def _is_reverse(git: AskGit, path: Path) -> bool:
    try:
        git("apply", "--cached", "--check", "--reverse", str(path))
    except SourceError:
        return False
    return True


def _problems(said: str, hunks: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """What git said, in order: of a hunk its number, its line, and the first of the lines that are not there."""
    sought: list[str] = []
    lines = said.splitlines()
    for number, line in enumerate(lines):
        failed = _FAILED.match(line)
        if line == "error: while searching for:":
            end = next((at for at in range(number + 1, len(lines)) if lines[at].startswith("error: patch failed")), number)
            sought = [text for text in lines[number + 1 : end] if text.strip()]
        elif failed:
            starts = hunks.get(failed[1], ())
            start = int(failed[2])
            which = f"hunk {starts.index(start) + 1} of {len(starts)}, " if start in starts else ""
            yield f"  {_show(failed[1])}: {which}line {start}: the lines that it changes are not there"
            yield from (f"    | {_show(text)}" for text in sought[:_SHOWN_LINES])
            sought = []
        elif line.startswith("error: ") and not line.endswith(": patch does not apply"):
            yield f"  {_show(line.removeprefix('error: '))}"


def _hunks(content: bytes) -> dict[str, tuple[int, ...]]:
    """The first line of each hunk, by the file as it was before. Lines of hunks are counted, as they may look like headers."""
    found: dict[str, list[int]] = {}
    file, left = "", [0, 0]
    for line in content.decode("utf-8", "replace").splitlines():
        header = re.match(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@", line)
        if left[0] > 0 or left[1] > 0:
            left[0] -= line[:1] in (" ", "-", "")
            left[1] -= line[:1] in (" ", "+", "")
        elif header:
            found.setdefault(file, []).append(int(header[1]))
            left = [int(header[2] or 1), int(header[3] or 1)]
        elif line.startswith("--- "):
            file = line[4:].partition("\t")[0].removeprefix("a/")
    return {name: tuple(starts) for name, starts in found.items()}


def _show(text: str) -> str:
    return text if text.replace("\t", "").isprintable() else ascii(text)
