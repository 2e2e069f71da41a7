"""One run of a command: its signals, its display, its adapters."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builder.config.options import find_option

if TYPE_CHECKING:
    from builder.cli.recording import Recording
    from builder.config.settings import Job
    from builder.pipeline.wiring import Adapters


@contextmanager
def open_adapters(
    job: "Job", progress: str, *, pushes: bool = False, recording: "Recording | None" = None
) -> "Iterator[Adapters]":
    """The adapters of one run, while signals are heard and progress is shown, and kept in `recording`.

    Only what `pushes` asks hubs with --offline.
    """
    from builder.cli.display import open_display
    from builder.cli.signals import heard
    from builder.config.variables import unknown_variables
    from builder.pipeline.wiring import Adapters
    from builder.runtime.cancellation import Cancellation

    cancellation = Cancellation()
    hosts = {hub.registry for hub in job.request.hubs} if pushes else set()
    with heard(cancellation, as_json=progress == "json"), open_display(progress) as observer:
        adapters = Adapters(
            _environment(job.outputs.variables),
            cancellation,
            recording.over(observer) if recording else observer,
            builder=job.builder,
            insecure_registries=job.insecure_registries,
            patience=job.timeout,
        )
        for told in unknown_variables(os.environ):
            adapters.progress.warn(told)
        if job.offline:
            adapters.go_offline(frozenset(hosts))
        for host in job.exposed_hubs:
            adapters.progress.warn(
                f"Credentials for {host} go over plain HTTP, because the project file says so (insecure_registry)."
            )
        try:
            yield adapters
        finally:
            adapters.leave_cache()


def _environment(secrets: frozenset[str]) -> dict[str, str]:
    """That of this process, without what no program that we start has to know."""
    hidden = secrets | {find_option("notify").variable}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def waiting(adapters: "Adapters") -> Callable[[], None]:
    """What tells that another run of the same job is waited for."""
    return lambda: adapters.progress.note("Another run of the same job is at work; waiting for it to end.")
