"""The source of a job: a checkout or a fetched release, and with patches a copy of it that has them."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from builder.config.settings import Job
from builder.errors import SourceError
from builder.pipeline.wiring import Adapters
from builder.plan.lock import SourceFacts
from builder.resolve.patches import read_patches
from builder.resolve.source import read_source

_REPLACED_ABOVE = re.compile(rb"^[^/\n]*[^\n]*=>[ \t]*\.\./", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """`tree` is what is compiled; `origin` what it was made of, which is the same where there are no patches.

    The facts are those of the files of `tree`, and of git's part of `origin`.
    """

    tree: Path
    origin: Path
    facts: SourceFacts


def read_source_tree(job: Job, adapters: Adapters) -> SourceTree:
    """The tree of this job, fetched where it is a release, and patched where it is asked for.

    Raises SourceError, PatchError, and RequestError for a patch that cannot be read.
    """
    # Before anything is fetched for them.
    patches = read_patches(job.patches)
    if job.source.directory is not None:
        origin = job.source.directory.resolve()
    else:
        origin = adapters.git.checkout_release(job.source.url, job.source.release)
    before = read_source(origin, adapters.git.describe)
    if not patches:
        return SourceTree(tree=origin, origin=origin, facts=before)
    contents = [(patch.name, patch.content) for patch in patches]
    tree, content = adapters.git.patch(origin, contents, adapters.workspace.patched)
    after = read_source(tree, lambda _: before.state)
    _refuse_what_is_left_behind(tree, origin)
    facts = replace(after, patches=tuple(patch.applied for patch in patches), patched_content=content)
    return SourceTree(tree=tree, origin=origin, facts=facts)


def _refuse_what_is_left_behind(tree: Path, origin: Path) -> None:
    if _REPLACED_ABOVE.search((tree / "go.mod").read_bytes()):
        raise SourceError(
            f"{origin}/go.mod replaces a module by a directory beside the tree, and patches are applied to a copy elsewhere",
            hint="Name that directory by its whole path, or apply the patches to the checkout yourself.",
        )
