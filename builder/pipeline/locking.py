"""Makes a lock: keeps of the one before what still is what is asked for, looks the rest up, and says what changed."""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from builder.config.settings import Job
from builder.errors import LockError, RequestError, ToolchainError
from builder.oci.reference import Hub, redact_url
from builder.pipeline.prepare import fill_in_tags, find_lookups, warn_of
from builder.pipeline.source_tree import read_source_tree
from builder.pipeline.wiring import Adapters
from builder.plan.lock import Lock
from builder.plan.model import Plan
from builder.plan.planner import make_plan
from builder.plan.selection import select_images
from builder.ports import GoBuild, ProcessFailed
from builder.recipe.loader import load_recipes
from builder.resolve.held import GO, SOURCE, LockInUse, refuse_dirty
from builder.resolve.lock_changes import LockChange, compare_locks
from builder.resolve.lock_file import lock_text
from builder.resolve.lock_record import read_lock, record_lock
from builder.resolve.resolver import resolve, what_is_asked
from builder.runtime.atomic_file import whole_file

_SHOWN_LINES = 10
# No reference of ours depends on it; a recipe of the user's own may, and then a hub is given.
_NO_HUB = Hub("hub.invalid", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLock:
    """A lock that is not written yet, and the plan of it; `stale` is whether the file is another, or not there."""

    path: Path
    tree: Path
    lock: Lock
    plan: Plan
    text: str
    changes: tuple[LockChange, ...]
    stale: bool

    def write(self) -> None:
        """Put it where it belongs, whole."""
        with whole_file(self.path) as partial:
            partial.write_text(self.text, encoding="utf-8")


def fetch_locked(made: MadeLock, adapters: Adapters) -> None:
    """Fetch all that the lock binds, and the Go modules that are compiled, into the caches: then --offline has it all."""
    adapters.prefetch().fetch(made.lock)
    go = made.lock.go
    if go.image or not made.plan.compiles:
        return
    compiler = adapters.machine_compiler(go)
    for step in made.plan.compiles:
        with adapters.progress.task("fetch", f"Go modules of {', '.join(step.programs)} {step.platform}") as task:
            build = GoBuild(command=step.command, env=step.env, platform=step.platform, tree=made.tree, into=made.tree)
            try:
                compiler.fetch_modules(build, task.detail)
            except ProcessFailed as error:
                said = redact_url("\n".join(error.stderr.strip().splitlines()[-_SHOWN_LINES:]))
                raise ToolchainError(
                    f"Go cannot fetch the modules of {', '.join(step.programs)}:\n{said}",
                    hint="GOPROXY names where modules come from.",
                ) from error


def make_lock(job: Job, adapters: Adapters, *, update: bool, names: tuple[str, ...] = ()) -> MadeLock:
    """The lock for this job. `update` looks everything up anew, or with `names` these things alone.

    Raises LockError, RequestError for a name that there is not, and what looking up raises.
    """
    job = replace(job, request=replace(job.request, hubs=job.request.hubs or (_NO_HUB,)))
    before = _read_before(job.lock, adapters, names, everything=update and not names)
    in_use = None if update and not names else before
    recipes = load_recipes(job.recipes, build_bases=job.request.build_bases)
    with adapters.progress.task("resolve", "source, bases, artifacts, Go") as task:
        found = read_source_tree(job, adapters)
        tree, source = found.tree, found.facts
        _refuse_inside(job.lock, found.origin)
        refuse_dirty(source.state, found.origin)
        source = in_use.bind_source(source, found.origin) if in_use else source
        book = recipes.at(source.release)
        job = fill_in_tags(job, source, adapters)
        lookups = find_lookups(job, tree, source, book, adapters)
        lock = resolve(job.request, book, source, lookups, in_use)
        _check_names(names, lock)
        task.outcome = f"commit {source.state.commit[:12]}"
    warn_of(found.origin, source, recipes, adapters)
    made = record_lock(lock, what_is_asked(job.request, book, source, lookups), job.source, book)
    text = lock_text(made)
    return MadeLock(
        path=job.lock,
        tree=tree,
        lock=lock,
        plan=make_plan(job.request, book, lock),
        text=text,
        changes=compare_locks(before.file if before else None, made, select_images(job.request, book)),
        stale=not job.lock.exists() or job.lock.read_bytes() != text.encode(),
    )


def _refuse_inside(path: Path, tree: Path) -> None:
    """There it would be a change that is not committed; and no commit can hold a file with its own id."""
    if path.resolve().is_relative_to(tree.resolve()):
        raise LockError(
            f"{path} would lie in {tree}, and a lock binds the commit of that tree",
            hint="Name a place outside with --lock FILE, such as beside your own pipeline.",
        )


def _read_before(path: Path, adapters: Adapters, names: tuple[str, ...], *, everything: bool) -> LockInUse | None:
    """The lock that is there; one that cannot be read only matters where something of it is to be kept."""
    if not path.exists() and not names:
        return None
    try:
        # Where nothing is named, the source is what it is now, and the rest follows.
        return read_lock(path, strict=False, renew=frozenset(names or (SOURCE,)))
    except LockError as error:
        if not everything:
            raise
        adapters.progress.warn(f"{error.message}: it is written anew.")
        return None


def _check_names(names: tuple[str, ...], lock: Lock) -> None:
    known = {SOURCE, GO, *(base.name for base in lock.bases), *(artifact.name for artifact in lock.artifacts)}
    known |= {mirror.image for mirror in lock.mirrors} | {packages.image for packages in lock.packages}
    for name in names:
        if name not in known:
            close = get_close_matches(name, sorted(known), n=1)
            nearest = f"Did you mean {close[0]}? " if close else ""
            raise RequestError(
                f"--update {name}: a lock for this request binds no {name!r}",
                hint=f"{nearest}It binds {', '.join(sorted(known))}.",
            )
