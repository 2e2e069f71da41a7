"""What a push would do, as `plan --against-hub` asks the hubs for it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builder.config.settings import Job
    from builder.pipeline.comparison import Comparison
    from builder.pipeline.prepare import Resolved
    from builder.pipeline.wiring import Adapters


def ask_hubs(resolved: "Resolved", job: "Job", adapters: "Adapters") -> "tuple[Resolved, Comparison]":
    """The job with the numbers that its tags would get, and how it compares. Raises RegistryError and AccessDenied."""
    from builder.pipeline.comparison import compare_with_hubs
    from builder.pipeline.counted_tags import number_plan
    from builder.publish.guards import Permissions

    permissions = Permissions(no_clobber=job.no_clobber, immutable=job.immutable)
    rebuild = resolved.always_build
    resolved, numbered = number_plan(resolved, adapters, permissions, rebuild=rebuild)
    for error in numbered.lost.values():
        raise error
    return resolved, compare_with_hubs(resolved.plan, adapters.registry, adapters.progress, permissions, rebuild=rebuild)
