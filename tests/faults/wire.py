"""A push over HTTP, in which one request goes wrong: each request in each way that there is.

Its waiting is virtual, its requests are not: client and server are the real ones, on loopback.
"""

import dataclasses
import itertools
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from builder.errors import BuilderError
from builder.net.patience import Patience
from builder.net.session import Waiting
from builder.oci.reference import RECORD_TAG, Hub
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.run import publish_release
from builder.publish.content import LayoutContent
from builder.publish.lease_times import LeaseTimes
from builder.publish.publication import Publication, Release
from builder.registry.client import HttpRegistry
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Progress
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import (
    Altered,
    Drop,
    Endless,
    Fault,
    FaultServer,
    Received,
    Reply,
    Reset,
    TinyRegistry,
    TokenService,
    error_reply,
)
from tests.faults.ground import fast_directory, ground
from tests.faults.inline import in_line
from tests.faults.judge import Broken
from tests.faults.waiting import VirtualGroup

_START = datetime(2026, 1, 1, tzinfo=UTC)
_BUSY = error_reply(429, "TOOMANYREQUESTS", "slow down")
_PATH, _TAG = "istio/pilot", "1.29"
# Of a push without faults there are some 60.
_MOST_REQUESTS = 400


def _wrong_digest(reply: Reply) -> Reply:
    body = bytes(reversed(reply.body))
    return dataclasses.replace(reply, body=body, headers={**reply.headers, "Docker-Content-Digest": f"sha256:{'0' * 64}"})


def _wrong_location(reply: Reply) -> Reply:
    return dataclasses.replace(reply, headers={**reply.headers, "Location": "http://[::1/x"})


FAULTS: dict[str, Fault] = {
    "drop": Drop(),
    "reset": Reset(),
    "429": dataclasses.replace(_BUSY, headers={**_BUSY.headers, "Retry-After": "3"}),
    "500": error_reply(500, "UNKNOWN", "internal error"),
    "502": Reply(502, b"<html><h1>Bad Gateway</h1></html>", {"Content-Type": "text/html"}),
    "slow": Altered(lambda reply: reply),
    "truncated": Altered(lambda reply: dataclasses.replace(reply, sent=len(reply.body) // 2)),
    "wrong digest": Altered(_wrong_digest),
    "wrong location": Altered(_wrong_location),
    "expired token": Altered(lambda reply: reply),
    "a login page": Reply(200, b"<html>Please log in</html>", {"Content-Type": "text/html"}),
    "endless body": Endless(),
    "lost answer": Reset(handled=True),
    "late": Drop(late=True),
}
# Longer than a lease lasts.
_SLOW_SECONDS = 75.0


@dataclass
class Site:
    """A server with a registry and a token service, whose requests are counted from where a push begins."""

    tiny: TinyRegistry
    tokens: TokenService
    server: "_CountingServer"
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def hub(self) -> Hub:
        """Where pushes go."""
        return Hub.parse(f"{self.server.host}/istio")

    def respond(self, received: Received) -> Reply:
        """The registry's answer; a puller looks at the tag after each."""
        reply = self.tokens(received)
        if received.method in ("PUT", "DELETE"):
            self._look_as_a_puller()
        return reply

    def tag(self) -> str:
        """Whose release the tag is."""
        found = self.tiny.manifests.get(f"{_PATH}:{_TAG}")
        if found is None:
            return "nothing"
        names = {index.content: name for (name, _), index in ground().indexes.items()}
        return names.get(found[1], "damaged")

    def record(self) -> bool:
        """Whether the record of a run is there."""
        return f"{_PATH}:{RECORD_TAG}" in self.tiny.manifests

    def _look_as_a_puller(self) -> None:
        content = self.tiny.manifests[f"{_PATH}:{_TAG}"][1]
        children = json.loads(content)["manifests"]
        if len(children) != 2:
            self.problems.append("the tag has lost a platform")
        for child in children:
            found = self.tiny.manifests.get(f"{_PATH}:{child['digest']}")
            parts = json.loads(found[1]) if found else None
            blobs = [blob["digest"] for blob in (parts["config"], *parts["layers"])] if parts else []
            if not parts or not set(blobs) <= self.tiny.blobs[_PATH].keys():
                self.problems.append(f"the tag names what is not there: {child}")


class _CountingServer(FaultServer):
    """Has a fault meet the request of a number."""

    site: Site

    def __init__(self, respond: Callable[[Received], Reply]) -> None:
        super().__init__(respond)
        self.count = 0
        self.fault: tuple[int, str] | None = None
        self.met = ""

    def begin(self, fault: tuple[int, str] | None) -> None:
        """Count from here."""
        self.count, self.fault, self.met = 0, fault, ""

    def take_fault(self, method: str, path: str) -> Fault | None:
        """What meets this request."""
        number = self.count
        self.count += 1
        if self.fault is None or number != self.fault[0]:
            return None
        self.met = f"{method} {re.sub(r'[0-9a-f]{58,}', '…', path)}"
        if self.fault[1] == "slow":
            self.site.seconds += _SLOW_SECONDS
        if self.fault[1] == "expired token":
            self.site.tokens.valid.clear()
            return None
        return FAULTS[self.fault[1]]


@contextmanager
def site() -> Iterator[Site]:
    """A registry on loopback, without anything in it."""
    tiny = TinyRegistry()
    tokens = TokenService(tiny)
    server = _CountingServer(tokens)
    server.site = Site(tiny, tokens, server)
    server.respond = server.site.respond
    tokens.realm = f"{server.url}/token"
    with server.running(), in_line():
        yield server.site


def _fill(here: Site) -> None:
    """The old release, under its tag."""
    here.tiny.blobs.clear()
    here.tiny.manifests.clear()
    manifests, blobs = ground().content["old", "pilot"]
    here.tiny.blobs[_PATH] = {str(digest): data for digest, data in blobs.items()}
    for digest, manifest in manifests.items():
        here.tiny.manifests[f"{_PATH}:{digest}"] = manifest.media_type, manifest.content
    index = ground().indexes["old", "pilot"]
    here.tiny.manifests[f"{_PATH}:{_TAG}"] = index.media_type, index.content


def push(here: Site, machine: Path) -> BuilderError | None:
    """One push of release `a`; gives how it failed."""

    def wait(seconds: float) -> None:
        here.seconds += seconds

    index = ground().indexes["a", "pilot"]
    content = LayoutContent(ground().layouts["a", "pilot"])
    references = (here.hub.repository("pilot").at(_TAG),)
    publication = Publication(key="pilot", index=index, references=references, content=content)
    release = Release(version="1.29.0", hub=str(here.hub), publications=(publication,))
    registry = HttpRegistry(
        credentials=lambda host: None,
        retry=RetryPolicy(sleep=wait),
        waiting=Waiting(timeouts=(20.0, 20.0), patience=Patience(20.0)),
        clock=lambda: here.seconds,
    )
    times = LeaseTimes(monotonic=lambda: here.seconds, now=lambda: _START + timedelta(seconds=here.seconds))
    context = PublishContext(
        registry=registry,
        rollback_tags=registry,
        journals=machine / "journal",
        progress=Progress(lambda event: None),
        cancellation=VirtualGroup(Cancellation(), wait),
        lease_times=times,
    )
    try:
        publish_release(release, {"pilot": "built"}, context, 0.0)
    except BuilderError as error:
        return error
    finally:
        registry.abort()
    return None


def count_requests(here: Site) -> int:
    """How many requests a push makes that nothing happens to."""
    _fill(here)
    here.server.begin(None)
    work = fast_directory()
    assert push(here, work / "first") is None
    return here.server.count


def try_fault(here: Site, number: int, kind: str) -> str:
    """One push in which the request of this number meets this; gives how it ended. Raises Broken."""
    work = fast_directory() / "machines"
    _fill(here)
    here.problems.clear()
    began = here.seconds
    here.server.begin((number, kind))
    error = push(here, work / "first")
    met, count = here.server.met, here.server.count
    here.server.begin(None)
    about = f"request {number} ({met}) met {kind!r}: {error or 'a report'}"
    _look(here, error, about)
    if here.seconds - began > 400 or count > _MOST_REQUESTS:
        raise Broken(f"{about}: {count} requests, {here.seconds - began:.0f} seconds")
    here.server.deliver()
    if second := push(here, work / "second"):
        raise Broken(f"{about}; the next push failed, too: {second}")
    if error is not None and (work / "first" / "journal").is_dir():
        push(here, work / "first")
    _look(here, None, f"{about}; then pushed again")
    left = [str(path.relative_to(work)) for path in work.rglob("*") if path.is_file() and path.suffix != ".lock"]
    if here.record() or left:
        raise Broken(f"{about}; left behind: {left}, record {here.record()}")
    shutil.rmtree(work.parent, ignore_errors=True)
    return "a report" if error is None else type(error).__name__


def _look(here: Site, error: BuilderError | None, about: str) -> None:
    if here.problems:
        raise Broken(f"{about}: {here.problems}")
    moved = error is None or any(
        words in error.message for words in ("all tags ha", "were at this release", "was at this release")
    )
    if here.tag() != ("a" if moved else "old"):
        raise Broken(f"{about}, and the tag is {here.tag()}")


@dataclass
class Tried:
    """What came of pushes in which a request met something."""

    pushes: int = 0
    endings: Counter[str] = field(default_factory=Counter)


def try_faults(here: Site, cases: Sequence[tuple[int, str]], on_tried: Callable[[Tried], None] = lambda tried: None) -> Tried:
    """Try these, each by itself."""
    tried = Tried()
    for number, kind in cases:
        tried.endings[f"{kind}: {try_fault(here, number, kind)}"] += 1
        tried.pushes += 1
        on_tried(tried)
    return tried


def all_cases(requests: int) -> list[tuple[int, str]]:
    """Every request with every fault."""
    return list(itertools.product(range(requests), FAULTS))


def some_cases(requests: int, count: int, seed: int) -> list[tuple[int, str]]:
    """So many of them, of each fault as many."""
    dice = random.Random(seed)
    kinds = itertools.islice(itertools.cycle(FAULTS), count)
    return [(dice.randrange(requests), kind) for kind in kinds]
