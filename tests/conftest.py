"""What every test can lean on: a guard around the outside world, and the real parts for tests marked `engine`.

The directory says what a test may touch, and marks it:

- `unit/`, one directory for each package of `builder`: starts no process, reaches no network but loopback;
- `process/`, `contract/`, `parity/`: mark `process`, starts programs on this machine, git and registries among them;
- `fuzz/`: like `unit/`, on inputs made up at random;
- `faults/`: like `unit/`, on schedules made up at random; of it `test_kill.py` starts programs;
- `engine/`: mark `engine`, needs what `tools/engine up` provides. `make test` runs pytest with that up and described in the
  environment. Where there is none these tests are skipped, each by name and with the reason. CI sets
  ISTIO_BUILD_REQUIRE_ENGINE=1, and then a skipped one is a failure.

Nothing is left behind: all that tests and the programs they start write goes below pytest's own temporary directory, which is
removed at the end (ISTIO_BUILD_KEEP=1 keeps it, to look at after a failure). In CI, what is left elsewhere fails the run.
"""

import ipaddress
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests import ROOT

REQUIRED = os.environ.get("ISTIO_BUILD_REQUIRE_ENGINE") == "1"


KEEP = os.environ.get("ISTIO_BUILD_KEEP") == "1"
# Where programs leave things although nobody asked them to.
ELSEWHERE = (Path(tempfile.gettempdir()), Path.home() / ".docker", Path.home() / ".cache" / "istio-build")


# What programs that the tests start call it; others may be at work on this machine, too.
OURS = re.compile(r"go-build|istio-build|pytest-|buildx|buildkit|docker|apt|activity|refs|current|defaults|artifacts|layers|jobs")


# By the first directory below tests/; a single test may ask for more (`contract/` has cases for a real engine).
MARKS = {"contract": "process", "parity": "process", "process": "process", "engine": "engine"}


# Where several processes share the files out (`--no-loadscope-reorder`), those that take long come first, so that at the end no
# processor waits for the last of them.
LONGEST_FIRST = ("engine", "faults", "process", "contract", "parity", "fuzz", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = MARKS.get(room_of(item))
        if mark:
            item.add_marker(mark)
    items.sort(key=lambda item: LONGEST_FIRST.index(room_of(item)))


def room_of(item: pytest.Item) -> str:
    """The first directory below tests/."""
    return item.path.relative_to(ROOT / "tests").parts[0]


def engine_is_up() -> bool:
    return "ISTIO_BUILD_TEST_REGISTRY" in os.environ


def listing() -> frozenset[Path]:
    """What lies at the places where something could be left."""
    return frozenset(path for place in ELSEWHERE if place.is_dir() for path in place.iterdir())


BEFORE = listing()


@pytest.fixture(scope="session", autouse=True)
def _everything_below_one_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Temporary files of programs, and what they would keep below the home directory."""
    base = tmp_path_factory.mktemp("elsewhere")
    os.environ["TMPDIR"] = tempfile.tempdir = str(base)
    os.environ["XDG_CACHE_HOME"] = str(base / "cache")
    os.environ["BUILDX_CONFIG"] = str(base / "buildx")


def pytest_sessionfinish(session: pytest.Session) -> None:
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    if KEEP:
        return
    if factory._basetemp:
        shutil.rmtree(factory.getbasetemp(), onerror=make_writable)
    if hasattr(session.config, "workerinput"):
        # Others are still at work; whoever has started them looks when all have ended.
        return
    left = sorted(str(path) for path in listing() - BEFORE if OURS.match(path.name) and not path.name.startswith("pytest-of-"))
    if REQUIRED and left:
        print(f"\nthe tests left behind: {', '.join(left)}", file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def make_writable(remove: Callable[[str], object], path: str, _: object) -> None:
    """Go makes the directories of its module cache read-only."""
    os.chmod(os.path.dirname(path), stat.S_IRWXU)
    remove(path)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("engine") and not engine_is_up():
        # With its name in the reason, for pytest's summary folds equal ones into a number.
        why = os.environ.get("ISTIO_BUILD_NO_ENGINE") or 'run `make test`, or this after `eval "$(tools/engine env)"`'
        pytest.skip(f"{item.nodeid}: NO ENGINE: {why}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRED and item.get_closest_marker("engine") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although ISTIO_BUILD_REQUIRE_ENGINE=1: {report.longrepr}"
    return report


class ClosedWorld:
    """Refuses processes and anything but loopback, while `closed`.

    An audit hook sees them all, however the code under test imported what it calls; once added it stays, hence the
    switch. pytest.fail raises no `Exception`, so code that retries or swallows errors cannot hide it.
    """

    closed = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.closed:
            return
        if event in {"subprocess.Popen", "os.posix_spawn", "os.system", "os.exec", "os.fork"}:
            pytest.fail(f"a unit test must not start a process: {arguments[:2]} (mark it `process` or `engine`)")
        if event == "socket.getaddrinfo" and not is_loopback(arguments[0]):
            pytest.fail(f"a unit test must not look up {arguments[0]!r} (mark it `engine`)")
        if event == "socket.connect" and not is_loopback(host_of(arguments[1])):
            pytest.fail(f"a unit test must not connect to {arguments[1]!r} (mark it `engine`)")


closed_world = ClosedWorld()
sys.addaudithook(closed_world)


@pytest.fixture(autouse=True)
def _guard_the_world(request: pytest.FixtureRequest) -> Generator[None, None, None]:
    closed_world.closed = not any(request.node.get_closest_marker(name) for name in ("engine", "process"))
    yield
    closed_world.closed = False


def host_of(address: object) -> object:
    """An internet address is (host, port, …); anything else, such as a Unix socket's path, is not loopback either."""
    return address[0] if isinstance(address, tuple) else address


def is_loopback(host: object) -> bool:
    if host in (None, "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session")
def engine_env() -> dict[str, str]:
    """What `tools/engine env` said, as a whole environment for a process."""
    if not engine_is_up():
        pytest.fail("mark this test `engine`")
    return dict(os.environ)


@pytest.fixture(scope="session")
def registry(engine_env: dict[str, str]) -> str:
    """127.0.0.1:PORT of a real, empty registry (but for the base images); give each test a hub of its own in it."""
    return engine_env["ISTIO_BUILD_TEST_REGISTRY"]


@pytest.fixture(scope="session")
def bases(engine_env: dict[str, str]) -> str:
    """Where the images `base`, `distroless` and `iptables` are, for both platforms, tagged BASE_VERSION."""
    return engine_env["ISTIO_BUILD_TEST_BASES"]


@pytest.fixture(scope="session")
def envoy_url(engine_env: dict[str, str]) -> str:
    """A base URL laid out like the one Istio downloads Envoy from."""
    return engine_env["ISTIO_BUILD_TEST_ENVOY_URL"]


@pytest.fixture(scope="session")
def runs_arm64(engine_env: dict[str, str]) -> bool:
    """Whether the engine can run linux/arm64 images, natively or emulated."""
    return engine_env.get("ISTIO_BUILD_TEST_ARM64") == "1"


@pytest.fixture(scope="session")
def go() -> Path:
    """The Go command."""
    found = shutil.which("go")
    if found is None:
        pytest.skip("no go on PATH")
    return Path(found)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone-like checkout of examples/mini-istio, tagged 1.29.0. Shared: a test that changes it copies it first."""
    directory = tmp_path_factory.mktemp("source") / "mini-istio"
    subprocess.run([ROOT / "examples" / "make-source", directory], check=True)
    return directory
