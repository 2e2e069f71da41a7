"""Puts together what speaks HTTP: the clients of registries, and the downloader. A part of `wiring`, which imports it when one of
them is first needed: `requests` takes long to import."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from builder.host.process import SubprocessRunner
from builder.net.download import HttpDownloader
from builder.net.patience import Patience
from builder.net.session import Waiting
from builder.ports import ProcessRunner
from builder.registry.client import HttpRegistry
from builder.registry.keychain import docker_credentials
from builder.runtime.cancellation import Cancellation, TaskGroup
from builder.runtime.progress import Progress
from builder.runtime.retry import Result, RetryPolicy

_CONNECT_SECONDS = 20.0
# Whoever interrupts a run waits for its tags to be put back, but not for long.
_ROLLBACK_SECONDS = 30.0
_ROLLBACK_ATTEMPTS = 7
# How long a request that moves a tag may go on after an interruption, of the two seconds in which all ends.
_LAST_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """What the clients of a run have in common. `run` is what credential helpers are run with."""

    environment: Mapping[str, str]
    run: ProcessRunner
    cancellation: TaskGroup
    progress: Progress
    insecure: tuple[str, ...]
    patience: Patience
    retry: RetryPolicy

    def registry(self) -> HttpRegistry:
        """What talks to registries in this run."""
        waiting = replace(_waiting(self.patience, self.cancellation.check_unprotected), warn=self.progress.warn)
        registry = self._client(self.retry, waiting)
        # A tag that is being moved is better moved and put back than left to a request that may still arrive.
        self.cancellation.on_set_or_late(registry.abort, _LAST_ANSWER_SECONDS)
        return registry

    def brief_registry(self, seconds: float) -> HttpRegistry:
        """A client for what is not needed: it gives a host up after so many seconds."""
        patience = Patience(min(self.patience.seconds, seconds))
        registry = self._client(replace(self.retry, total_wait=patience.seconds), _waiting(patience, self.cancellation.check))
        self.cancellation.on_set(registry.abort)
        return registry

    def rollback_registry(self) -> HttpRegistry:
        """It goes on after an interruption, so nothing of it ends with one; instead it has little patience.

        It runs credential helpers anew and does not take what the other registry got, which may have been an hour ago,
        when Amazon's and Google's are no longer good.
        """
        seconds = min(self.patience.seconds, _ROLLBACK_SECONDS)
        patience = Patience(seconds, told="that is how long is waited while tags are put back")
        never = Cancellation()
        runner = SubprocessRunner(never)
        self.cancellation.on_kill(runner.kill_all)
        return HttpRegistry(
            credentials=docker_credentials(self.environment, runner, helper_seconds=seconds),
            retry=_UncutPolicy(
                cancellation=self.cancellation,
                sleep=never.wait,
                attempts=_ROLLBACK_ATTEMPTS,
                total_wait=seconds,
                announce=self.progress.note_retry,
            ),
            insecure=self.insecure,
            waiting=_waiting(patience, never.check),
        )

    def downloader(self) -> HttpDownloader:
        """What fetches files."""
        downloader = HttpDownloader(retry=self.retry, waiting=_waiting(self.patience, self.cancellation.check))
        self.cancellation.on_set(downloader.abort)
        return downloader

    def _client(self, retry: RetryPolicy, waiting: Waiting) -> HttpRegistry:
        credentials = docker_credentials(self.environment, self.run)
        return HttpRegistry(credentials=credentials, retry=retry, insecure=self.insecure, waiting=waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class _UncutPolicy(RetryPolicy):
    """An interrupted process is not ended in the middle of what this one runs."""

    cancellation: Cancellation

    def run(self, attempt: Callable[[], Result]) -> Result:
        """See `RetryPolicy.run`."""
        with self.cancellation.protected():
            return RetryPolicy.run(self, attempt)


def _waiting(patience: Patience, check_interrupted: Callable[[], None]) -> Waiting:
    """Between two reads we wait as long as for anything: a registry may well be silent while it stores a large blob."""
    timeouts = min(_CONNECT_SECONDS, patience.seconds), patience.seconds
    return Waiting(check_interrupted=check_interrupted, timeouts=timeouts, patience=patience)
