"""What to say where the system fails us: of a full disk which, and how much room there is."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from builder.errors import BuilderError, DiskFull

# What writing fails with on a full disk, with a full quota, and at a limit on the size of files (ulimit -f).
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HINT = (
    "Free some space there, then run the same again. ISTIO_BUILD_CACHE names another place for the cache, TMPDIR for what is "
    "temporary."
)
_OTHER_HINT = "Can this user write there? ISTIO_BUILD_CACHE names another place for the cache."


def system_error(error: OSError) -> BuilderError:
    """What to tell of a failure of the system's that nobody has expected: a full disk, or what it says itself."""
    if error.errno in NO_ROOM:
        return full_disk(error)
    return BuilderError(f"{error.filename or 'the system'}: {error.strerror or error}", hint=_OTHER_HINT)


def full_disk(error: OSError, path: Path | None = None, hint: str = _HINT) -> DiskFull:
    """The exception for a write that failed for want of room, which often does not say itself where it was.

    Then all places are told where a run writes.
    """
    named = path or (Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None)
    reason = error.strerror or str(error)
    if named:
        return DiskFull(f"cannot write {named}: {reason}; {free_space(named)}", hint=hint)
    cache = os.environ.get("ISTIO_BUILD_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    places = dict.fromkeys(map(free_space, (Path(cache).expanduser(), Path(tempfile.gettempdir()), Path.cwd())))
    return DiskFull(f"a disk is full: {reason}; {'; '.join(places)}", hint=hint)


def free_bytes(path: Path) -> int:
    """How much room there is where a path is, or would be. Raises OSError."""
    return shutil.disk_usage(_there(path)).free


def may_write(path: Path) -> bool:
    """Whether this user may write in this directory, or make it. Nothing is written."""
    return os.access(_there(path), os.W_OK | os.X_OK)


def _there(path: Path) -> Path:
    """The directory that it is, or is to be made in."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir()).resolve()


def free_space(path: Path) -> str:
    """Which file system a path is on, or would be, and how much room there is."""
    try:
        there = _there(path)
        mount = next(place for place in (there, *there.parents) if place.is_mount())
        return f"the file system at {mount} has {shutil.disk_usage(there).free / 1_000_000:.0f} MB free"
    except OSError as error:
        return f"how much room there is at {path} cannot be told: {error.strerror}"
