"""The hubs of a run, each by itself: what fails at one neither ends nor hides what the others get."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from builder.errors import BuilderError, DiskFull, Interrupted
from builder.oci.reference import Hub
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.verdict import join_failures
from builder.publish.upload import Holders, Uploads
from builder.runtime.cancellation import TaskGroup

Result = TypeVar("Result")


class HubGroups:
    """Hubs as groups of tasks that fail apart from one another; what interrupts the run ends all of them.

    One that fails is told at once, and is left out from then on. The run ends where none is left, and with
    `context.fail_fast` at the first. A hub that is alone is the run itself: what fails there is raised as it is.
    """

    def __init__(self, hubs: Iterable[Hub], context: PublishContext) -> None:
        named = tuple(dict.fromkeys(hubs))
        self._context = context
        self._run = context.cancellation
        self._alone = len(named) < 2
        self._groups: Mapping[Hub, TaskGroup] = {hub: self._run if self._alone else self._run.group() for hub in named}
        for hub, group in self._groups.items() if not self._alone else ():
            group.on_set(partial(self._tell_end, hub))
        for hub in named if not self._alone else ():
            if hub in context.lost:
                self._groups[hub].fail(context.lost[hub])

    @property
    def all(self) -> tuple[Hub, ...]:
        """All, in the order in which they were named."""
        return tuple(self._groups)

    @property
    def failures(self) -> dict[Hub, BuilderError]:
        """What those failed with that are left out."""
        if self._alone:
            return {}
        found = {hub: group.failure for hub, group in self._groups.items()}
        return {
            hub: error for hub, error in found.items() if isinstance(error, BuilderError) and not isinstance(error, Interrupted)
        }

    @property
    def left(self) -> tuple[Hub, ...]:
        """Those that have not failed."""
        failures = self.failures
        return tuple(hub for hub in self._groups if hub not in failures)

    @property
    def was_interrupted(self) -> bool:
        """Whether somebody has ended the run, and nothing that failed in it."""
        return self._run.is_set() and self._run.failure is None

    def context(self, hub: Hub) -> PublishContext:
        """What publishing to this one needs; what it waits for ends with this hub alone."""
        return replace(self._context, cancellation=self._groups[hub], place="" if self._alone else f" at {hub}")

    @contextmanager
    def uploads(self) -> Iterator[Mapping[Hub, Uploads]]:
        """What sends to each hub that is left, while the block runs; hubs at one registry have blobs mounted from each other."""
        holders = Holders()
        with ExitStack() as stack:
            contexts = {hub: self.context(hub) for hub in self.left}
            try:
                yield {
                    hub: stack.enter_context(Uploads(own.registry, own.progress, own.cancellation, holders))
                    for hub, own in contexts.items()
                }
            except BaseException as error:
                self._run.fail(error)
                raise

    def each(self, act: Callable[[Hub], Result]) -> dict[Hub, Result]:
        """What this gives at each hub that is left, side by side; one where it fails is left out.

        Raises what the run ended with: see the class.
        """
        results = self.settle(act)
        if self._run.is_set():
            raise self._run.failure or Interrupted("interrupted")
        return {hub: result for hub, result in results.items() if not isinstance(result, BuilderError)}

    def settle(self, act: Callable[[Hub], Result]) -> dict[Hub, Result | BuilderError]:
        """As `each`, but with what it raised where it did, whatever becomes of the run: to be looked at hub by hub."""
        if self._alone:
            return {hub: act(hub) for hub in self._groups}
        hubs = self.left
        with ThreadPoolExecutor(max_workers=max(1, len(hubs))) as pool:
            futures = {hub: pool.submit(self._attempt, hub, act) for hub in hubs}
        return {hub: future.result() for hub, future in futures.items()}

    def _attempt(self, hub: Hub, act: Callable[[Hub], Result]) -> Result | BuilderError:
        try:
            return act(hub)
        except Interrupted as error:
            # Most often it was ended because something else of this hub failed.
            return self.failures.get(hub, error)
        except BuilderError as error:
            self._groups[hub].fail(error)
            return error
        except BaseException as error:
            self._run.fail(error)
            raise

    def _tell_end(self, hub: Hub) -> None:
        """Called once a hub's group has ended, from whatever thread ended it."""
        error = self._groups[hub].failure
        if error is None or isinstance(error, Interrupted):
            return
        if isinstance(error, DiskFull) or not isinstance(error, BuilderError):
            # It is this machine's, and so everybody's.
            self._run.fail(error)
        elif self._context.fail_fast or not self.left:
            self._run.fail(join_failures(self.all, self.failures))
        elif not self._run.is_set():
            # What with is told at the end, of all hubs together.
            self._context.progress.warn(f"{hub} has failed, and the other hubs go on (code {error.exit_code}).")
