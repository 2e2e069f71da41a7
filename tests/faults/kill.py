"""Real processes that are killed while they push, and others that come after, from the same machine and from another."""

import copy
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.images.layout_notes import LayoutNotes
from builder.oci.layout import Layout
from builder.oci.reference import HISTORY_TAG, RECORD_TAG, Digest
from builder.publish.release_file import ListedImage, ReleaseFile
from tests.fakes.fault_server import FaultServer, Received, Reply, TinyRegistry
from tests.faults.ground import fast_directory
from tests.faults.judge import Broken
from tests.real.program import environment
from tests.samples.images import AMD64, ARM64, BASE_LAYER, SampleFile, add_image, make_config, make_tar, write_image_index
from tests.samples.plans import image_of, make_sample_plan
from tests.samples.programs import make_elf

_TAG_REQUEST = re.compile(r"/v2/[^?]+/manifests/(?!sha256:)")
_KEYS = ("pilot-debug", "istioctl-debug")
_SECONDS = 60.0
# A lease of this machine's clock, so that nobody waits a minute for one that died. All else is as ever.
_PROGRAM = """
import sys
from builder.publish.lease_times import LeaseTimes
LeaseTimes.__init__.__kwdefaults__.update(lease=1, settle=0.1, poll=0.1)
from builder.cli.main import main
main()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a process is killed: at its request of this number of those for tags and records, before or after it is met.

    `elsewhere`: who comes next does so from another machine.
    """

    number: int
    after: bool
    elsewhere: bool


class _Hub:
    """A registry that kills who asks, at one request."""

    def __init__(self, content: TinyRegistry) -> None:
        self.content = copy.deepcopy(content)
        self.server = FaultServer(self.respond)
        self.asked: list[str] = []
        self.victim: Callable[[], None] | None = None
        self.step: Step | None = None
        self._lock = threading.Lock()
        self.problems: list[str] = []

    def respond(self, received: Received) -> Reply:
        """The registry's answer, if anybody is there to hear it."""
        with self._lock:
            is_met = False
            if _TAG_REQUEST.match(received.path):
                is_met = self.step is not None and len(self.asked) == self.step.number
                self.asked.append(received.method)
            if is_met and self.step and not self.step.after:
                self._kill()
                return Reply(503)
            reply = self.content(received)
            self._look_as_a_puller()
            if is_met:
                self._kill()
            return reply

    def _kill(self) -> None:
        assert self.victim
        self.victim()

    def tags(self) -> dict[str, str]:
        """Every tag of an image, and the digest of what it points at."""
        return {
            name: str(Digest.of(content))
            for name, (_, content) in self.content.manifests.items()
            if "@" not in name and ":sha256:" not in name and not name.endswith((RECORD_TAG, HISTORY_TAG))
        }

    def records(self) -> list[str]:
        """Where a run has left its record."""
        return [name for name in self.content.manifests if name.endswith(RECORD_TAG)]

    def _look_as_a_puller(self) -> None:
        for name, (_, content) in self.content.manifests.items():
            if ":sha256:" in name or name.endswith((RECORD_TAG, HISTORY_TAG)):
                continue
            repository = name.rpartition(":")[0]
            children = [child["digest"] for child in json.loads(content)["manifests"]]
            if len(children) != 2:
                self.problems.append(f"{name} has {len(children)} platforms")
            for child in children:
                found = self.content.manifests.get(f"{repository}:{child}")
                parts = json.loads(found[1]) if found else {"config": {"digest": ""}, "layers": []}
                needed = {blob["digest"] for blob in (parts["config"], *parts["layers"])}
                if not needed <= self.content.blobs[repository].keys():
                    self.problems.append(f"{name} names what is not there: {child}")


class Ground:
    """Two releases in directories, a hub that has the first, and what an undisturbed push of the second comes to."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._numbers = itertools.count()
        # Of the same host and port, as both are in what the program says.
        old, self._new = (write_release(work / name, name) for name in ("old", "new"))
        hub = _Hub(TinyRegistry())
        with hub.server.running():
            self._must_push(hub, old, work / "first")
        self._content = hub.content
        hub = _Hub(self._content)
        with hub.server.running():
            self.digests = self._must_push(hub, self._new, work / "undisturbed")
        self._requests = tuple(hub.asked)
        self._files = files(work / "undisturbed")
        self._tags = hub.tags()

    def all_steps(self) -> list[Step]:
        """Every request that has to do with tags and records, before and after what it changes, from both machines."""
        return [
            Step(number=number, after=after, elsewhere=elsewhere)
            for number, method in enumerate(self._requests)
            for after in ((False, True) if method in ("PUT", "DELETE") else (False,))
            for elsewhere in (False, True)
        ]

    def kill_at(self, steps: Sequence[Step], jobs: int, on_done: Callable[[int], None] = lambda done: None) -> None:
        """Kill a push at each of these, each at a hub of its own. Raises Broken."""
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            for done, _ in enumerate(pool.map(self._kill_at, steps), 1):
                on_done(done)

    def _kill_at(self, step: Step) -> None:
        hub = _Hub(self._content)
        number = next(self._numbers)
        here, there = (self._work / f"{number} {name}" for name in ("here", "there"))
        with hub.server.running():
            hub.step = step
            self._push(hub, self._new, here, kill=True)
            hub.step = None
            next_one = there if step.elsewhere else here
            self._look(step, hub, self._must_push(hub, self._new, next_one), next_one)
            if step.elsewhere:
                self._look(step, hub, self._must_push(hub, self._new, here), here)

    def _look(self, step: Step, hub: _Hub, digests: dict[str, str], machine: Path) -> None:
        expected = {
            "digests": (digests, self.digests),
            "tags": (hub.tags(), self._tags),
            "records": (hub.records(), []),
            "files": (files(machine), self._files),
            "problems": (hub.problems, []),
        }
        for what, (found, wanted) in expected.items():
            if found != wanted:
                raise Broken(f"{step}, {machine.name}: {what} are {found}, not {wanted}")

    def _must_push(self, hub: _Hub, release: Path, machine: Path) -> dict[str, str]:
        code, output, told = self._push(hub, release, machine)
        if code:
            raise Broken(f"{machine.name}: a push that nothing happened to ended with {code}: {told}")
        return {image["image"]: image["digest"] for image in json.loads(output)["images"]}

    def _push(self, hub: _Hub, release: Path, machine: Path, *, kill: bool = False) -> tuple[int, str, str]:
        words = ("push", "--from", str(release), "--hub", f"{hub.server.host}/istio", "--tag", "1.29")
        argv = [sys.executable, "-c", _PROGRAM, *words, "--output-format", "json"]
        env = environment({"ISTIO_BUILD_CACHE": str(machine), "DOCKER_CONFIG": str(self._work)})
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as process:
            hub.victim = lambda: os.kill(process.pid, signal.SIGKILL)
            try:
                output, told = process.communicate(timeout=_SECONDS)
            finally:
                process.kill()
        if kill and process.returncode != -signal.SIGKILL:
            raise Broken(f"{hub.step}: it was not killed, and ended with {process.returncode}: {told}")
        return process.returncode, output, told


@contextmanager
def ground() -> Iterator[Ground]:
    """What is killed, and where."""
    yield Ground(fast_directory())


def write_release(directory: Path, content: str) -> Path:
    """A release as `build` leaves it, of two images."""
    plan = make_sample_plan(tags=("1.29.0", "1.29"))
    listed = []
    for key in _KEYS:
        image, layout = image_of(plan, key), Layout(directory / key)
        parts = {
            platform: add_image(
                layout,
                make_config(platform),
                [
                    BASE_LAYER,
                    make_tar([SampleFile(path="/a", content=make_elf(platform.architecture) + f"{key} {content}".encode())]),
                ],
            )
            for platform in (AMD64, ARM64)
        }
        notes = dict(LayoutNotes.of(image, plan).to_json())
        index = write_image_index(directory / key, parts, notes, dict(image.annotations)).index()
        inputs = tuple((str(on.platform), on.fingerprint) for on in image.platforms)
        listed.append(ListedImage(image=image.image, variant=image.variant, digest=index.digest, inputs=inputs))
    hub = "registry.corp.example/istio"
    ReleaseFile(version="1.29.0", hub=hub, made=(("Go", "alike"),), images=tuple(listed)).write(directory)
    return directory


def files(cache: Path) -> list[str]:
    """What a machine has kept, but for what is named after the address of a hub, and the stamps beside what it has used."""
    paths = (path for path in cache.rglob("*") if path.is_file() and path.parent.name != ".used")
    names = sorted(str(path.relative_to(cache)) for path in paths)
    return [re.sub(r"[0-9a-f]{16}(?=\.lock)", "HUB", name) for name in names]
