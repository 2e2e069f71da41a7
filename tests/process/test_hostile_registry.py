"""The whole program at a registry that means harm: nothing commands the terminal, fills the memory, or ends in a traceback."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.oci.manifest import INDEX, ImageConfig
from builder.oci.reference import HISTORY_TAG, RECORD_TAG, Repository
from builder.publish.history import HISTORY_ANNOTATION
from tests import ROOT
from tests.fakes.fault_server import FaultServer, Received, Reply, TinyRegistry
from tests.samples.hubs import PATH, SampleHub, entry
from tests.samples.images import AMD64, ARM64, SampleFile
from tests.samples.programs import make_go_program
from tests.samples.releases import write_release

# What gives a terminal another title, clears it, rings, and has what follows written from right to left.
ESCAPES = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e"
COMMANDS = ("\x1b", "\x07", "\u009b", "\u202e", "\r", "\b")


class Ended:
    """How it ended; both streams must be of text alone."""

    def __init__(self, done: "subprocess.CompletedProcess[bytes]") -> None:
        self.code = done.returncode
        self.told = done.stdout.decode() + done.stderr.decode()
        assert "Traceback" not in self.told
        assert [command for command in COMMANDS if command in self.told] == [], ascii(self.told)


def run(work: Path, *words: str | Path, megabytes: int = 2000) -> Ended:
    """With so much memory, and half a minute."""
    limited = ["bash", "-c", f'ulimit -v {megabytes * 1000}; exec "$@"', "-", sys.executable, "-m", "builder"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(work), "ISTIO_BUILD_CACHE": str(work / "cache")}
    argv = [*limited, *(str(word) for word in words)]
    return Ended(subprocess.run(argv, env=env, cwd=work, capture_output=True, timeout=60, check=False))


class HostileRegistry(TinyRegistry):
    """Serves what a `SampleHub` holds, each answer with a warning. `answers` come in place of some."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[tuple[str, str], Reply] = {}

    def take(self, hub: SampleHub) -> None:
        path = hub.repository.path
        self.blobs[path] = {str(digest): content for digest, content in hub.registry.blobs[hub.repository].items()}
        for key, manifest in hub.registry.manifests[hub.repository].items():
            self.manifests[f"{path}:{key}"] = (manifest.media_type, manifest.content)

    def __call__(self, received: Received) -> Reply:
        reply = next(
            (reply for (method, end), reply in self.answers.items() if received.method == method and received.path.endswith(end)),
            None,
        ) or super().__call__(received)
        # In a header go the bytes of one character each.
        text = ESCAPES.encode("latin-1", "ignore").decode("latin-1")
        return dataclasses.replace(reply, headers={**reply.headers, "Warning": f'299 - "{text}beware"'})


@pytest.fixture
def registry() -> HostileRegistry:
    return HostileRegistry()


@pytest.fixture
def server(registry: HostileRegistry) -> Iterator[FaultServer]:
    with FaultServer(registry).running() as running:
        yield running


@pytest.fixture
def hub(server: FaultServer) -> SampleHub:
    return SampleHub(Repository(server.host, "evil/pilot"))


def hostile_image(hub: SampleHub) -> None:
    """Whatever of an image can hold a text holds one that no terminal is to see."""
    program = make_go_program("amd64", stamps=(f"1.29.0{ESCAPES}",), settings=((f"-tags{ESCAPES}", ESCAPES),))
    layer = hub.layer(SampleFile(path=PATH, content=program), SampleFile(path=f"/opt/{ESCAPES}", content=program))
    config = ImageConfig(
        platform=ARM64,
        user=f"0{ESCAPES}",
        entrypoint=(f"{PATH}{ESCAPES}", ESCAPES),
        env=((f"A{ESCAPES}", ESCAPES), ("PATH", ESCAPES)),
        labels=((f"label{ESCAPES}", ESCAPES), ("org.opencontainers.image.version", ESCAPES)),
    )
    image = hub.image(config, layer)
    odd = {**entry(image, AMD64), "annotations": {ESCAPES: ESCAPES}}
    other = {**entry(image, ARM64), "platform": {"os": f"linux{ESCAPES}", "architecture": ESCAPES, "variant": ESCAPES}}
    annotations = {"org.opencontainers.image.version": f"1.29{ESCAPES}", "org.opencontainers.image.title": ESCAPES}
    hub.tag(hub.manifest({"mediaType": INDEX, "manifests": [odd, other], "annotations": annotations}))


def test_what_an_image_says_is_only_shown(hub: SampleHub, registry: HostileRegistry, tmp_path: Path) -> None:
    hostile_image(hub)
    registry.take(hub)
    place = str(hub.repository).rpartition("/")[0]
    words = ("--hub", place, "--istio", "1.29.0", "--image", "pilot", "--variant", "debug", "--compare-with", "none")
    for shown in (("table", "plain"), ("json", "json")):
        ended = run(tmp_path, "verify", *words, "--fix-hint", "--format", shown[0], "--progress", shown[1])
        assert ended.code == 16
        assert "owned" in ended.told
    promoted = run(tmp_path, "promote", "--from", f"{place}:1.29.0", "--hub", f"{place}/prod", "--progress", "plain")
    assert promoted.code == 16
    assert "nothing was promoted" in promoted.told


def history(*images: object) -> bytes:
    """What a hub remembers, with this for its releases."""
    text = json.dumps({"version": 1, "releases": list(images)})
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {HISTORY_ANNOTATION: text}}
    return json.dumps(document).encode()


ANSWERS = {
    "an error": Reply(500, json.dumps({"errors": [{"code": f"A{ESCAPES}", "message": ESCAPES}]}).encode()),
    "another type": Reply(200, json.dumps({"mediaType": f"text{ESCAPES}"}).encode()),
    "another type in its head": Reply(200, b"{}", {"Content-Type": "text\x1b[2J/\x07plain"}),
    "another digest": Reply(200, b"{}", {"Content-Type": INDEX, "Docker-Content-Digest": "sha256:\x1b[2J\x07"}),
    "an odd place": Reply(307, b"", {"Location": "http://[::1\x1b[2J\x07/x"}),
    "an odd challenge": Reply(401, b"", {"WWW-Authenticate": 'Bearer realm="http://127.0.0.1:1/\x1b[2J\x07",scope="\x1b[2J"'}),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_what_a_registry_answers_is_only_shown(server: FaultServer, registry: HostileRegistry, tmp_path: Path, what: str) -> None:
    registry.answers = {("GET", "/manifests/v1"): ANSWERS[what]}
    write_release(tmp_path / "images", f"{server.host}/evil")
    ended = run(tmp_path, "push", "--from", tmp_path / "images", "--timeout", "1", "--progress", "plain")
    assert ended.code in (13, 14)
    assert "error: " in ended.told
    assert not [key for key in registry.manifests if key.endswith(":v1")]


@pytest.mark.parametrize("tag", [HISTORY_TAG, RECORD_TAG])
def test_what_others_have_noted_is_only_shown(server: FaultServer, registry: HostileRegistry, tmp_path: Path, tag: str) -> None:
    release = {
        "id": ESCAPES,
        "time": ESCAPES,
        "by": ESCAPES,
        "images": [{"image": ESCAPES, "digest": ESCAPES, "tags": [ESCAPES]}],
    }
    for image in ("pilot", "proxyv2"):
        registry.manifests[f"evil/{image}:{tag}"] = (INDEX, history(release))
    for words in (("history",), ("rollback", "--tag", "v1")):
        run(tmp_path, *words, "--hub", f"{server.host}/evil", "--image", "pilot,proxyv2", "--progress", "plain")


# Small on the way and large in memory; without end; deep; of an absurd number.
MANY = b'{"mediaType": "%s", "manifests": [%s{}]}'
HUGE = {
    "empty lists": MANY % (INDEX.encode(), b"[]," * 5_500_000),
    "just large enough": MANY % (INDEX.encode(), b"[]," * 1_390_000),
    "depth": b'{"mediaType": "%s", "manifests": %s}' % (INDEX.encode(), b"[" * 2_000_000),
}


@pytest.mark.parametrize("what", HUGE)
def test_documents_are_bounded_in_memory(server: FaultServer, registry: HostileRegistry, tmp_path: Path, what: str) -> None:
    """As many at a time as are ever read at once."""
    names = [f"{server.host}/evil/pilot:{number}" for number in range(8)]
    for number in range(8):
        registry.answers["GET", f"/manifests/{number}"] = Reply(200, HUGE[what], {"Content-Type": INDEX})
    ended = run(tmp_path, "verify", *names, "--compare-with", "none", "--progress", "plain", megabytes=2500)
    assert ended.code == 16
    assert "corrupt-manifest" in ended.told


def test_tokens_referrers_and_refusals_are_bounded_in_memory(
    server: FaultServer, registry: HostileRegistry, tmp_path: Path
) -> None:
    for body in (b"[" * 20_000_000, b'{"token": "a", "errors": [%s{}]}' % (b"{}," * 6_000_000)):
        challenge = f'Bearer realm="{server.url}/token"'
        registry.answers = {
            ("GET", "/token"): Reply(200, body),
            ("GET", "/v1"): Reply(401, body, {"WWW-Authenticate": challenge}),
        }
        ended = run(tmp_path, "verify", f"{server.host}/evil/pilot:v1", "--compare-with", "none", megabytes=1000)
        assert ended.code in (13, 14)
        assert len(ended.told) < 5000
