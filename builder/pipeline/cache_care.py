"""What a push does for the cache: says before it begins that there is little room, and keeps limits when it is done."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from builder.config.settings import Job
from builder.errors import Interrupted
from builder.pipeline.wiring import Adapters
from builder.plan.model import Plan
from builder.runtime.disk_space import free_bytes, free_space

# What a first build of a release's core images takes below the cache, a platform: programs, layers and layouts are 0.8 to 1 GB,
# Envoy with its archive and the bases' layers 0.3 GB. Go's own caches are elsewhere.
BYTES_A_PLATFORM = 1_300_000_000


def warn_of_little_room(tree: Path, plan: Plan, adapters: Adapters, free: Callable[[Path], int] = free_bytes) -> None:
    """Say it before minutes of work are for nothing. A job that was done before has most of its files already."""
    workspace = adapters.workspace
    needed = BYTES_A_PLATFORM * len(plan.platforms)
    if not plan.images or workspace.job_directory(tree, plan.hub).exists():
        return
    with contextlib.suppress(OSError):
        if free(workspace.root) < needed:
            adapters.progress.warn(
                f"{free_space(workspace.root)}, and a release takes some {needed / 1e9:.1f} GB of the cache: "
                "`istio-build cache prune --keep 30d` frees some, ISTIO_BUILD_CACHE names another place."
            )


def keep_limits(job: Job, adapters: Adapters) -> None:
    """What the settings say of the cache, after a push that went well; whatever comes in between, that it did."""
    if job.cache.none_given:
        return
    from builder.cache.prune import prune

    # The next push finds what is left.
    with contextlib.suppress(OSError, Interrupted):
        prune(adapters.workspace, job.cache, adapters.cancellation.check)
