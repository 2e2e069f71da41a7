"""`app` for real, on the bases of the tests: its user is in the image that is pushed, and the programs run as that user."""

import io
import json
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from builder.oci.manifest import INDEX
from tests.real.program import Ended, istio_build

AMD64, ARM64 = "linux/amd64", "linux/arm64"
BOTH = pytest.mark.parametrize("platform", [AMD64, ARM64])


@pytest.fixture(scope="module")
def hub() -> str:
    """A path of this session's own."""
    return f"app-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def pushed(registry: str, bases: str, source: Path, hub: str, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    settings = ["--source", str(source), "--hub", f"{registry}/{hub}", "--base-registry", bases, "--image", "app"]
    cache = tmp_path_factory.mktemp("cache")
    ended = istio_build("push", *settings, "--output-format", "json", env={"ISTIO_BUILD_CACHE": str(cache)})
    assert ended.code == 0, ended.stderr
    return ended


def get(registry: str, path: str, media_type: str = "") -> bytes:
    """Ask the registry, with no code of ours between."""
    answer = requests.get(f"http://{registry}/v2/{path}", headers={"Accept": media_type} if media_type else {}, timeout=30)
    assert answer.ok, answer.text
    return answer.content


def layers(registry: str, repository: str, tag: str, platform: str) -> list[dict[str, tuple[tarfile.TarInfo, bytes]]]:
    """What each layer of an image holds, by path."""
    index: dict[str, Any] = json.loads(get(registry, f"{repository}/manifests/{tag}", INDEX))
    [child] = [entry for entry in index["manifests"] if f"linux/{entry['platform']['architecture']}" == platform]
    manifest = json.loads(get(registry, f"{repository}/manifests/{child['digest']}", child["mediaType"]))
    found = []
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(get(registry, f"{repository}/blobs/{layer['digest']}"))) as tar:
            members = [(member, tar.extractfile(member) if member.isreg() else None) for member in tar]
            found.append({f"/{member.name.strip('./')}": (member, file.read() if file else b"") for member, file in members})
    return found


@BOTH
def test_the_accounts_of_the_base_stay_and_the_user_comes_after_them(
    pushed: Ended, registry: str, hub: str, platform: str
) -> None:
    found = layers(registry, f"{hub}/app", "1.29.0", platform)
    users = found[-1]
    below = {path: content for layer in found[:-1] for path, (_, content) in layer.items()}
    assert users["/etc/passwd"][1] == below.get("/etc/passwd", b"") + b"application:x:1338:1338::/home/application:/bin/sh\n"
    assert users["/etc/group"][1] == below.get("/etc/group", b"") + b"application:x:1338:\n"
    home = users["/home/application"][0]
    assert (home.isdir(), home.uid, home.gid, home.mode) == (True, 1338, 1338, 0o750)
    # Nothing else of the base is touched.
    files = {path for path, (member, _) in users.items() if not member.isdir()}
    assert files <= {f"/etc/{name}" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")}


@BOTH
@pytest.mark.parametrize("program", ["server", "client"])
def test_the_programs_run_as_the_user(
    pushed: Ended, registry: str, hub: str, platform: str, program: str, runs_arm64: bool
) -> None:
    if platform == ARM64 and not runs_arm64:
        pytest.skip("this machine cannot run linux/arm64 images")
    run = ["docker", "run", "--rm", "--quiet", "--network", "none", "--platform", platform, "--user", "application"]
    words = [*run, "--entrypoint", f"/usr/local/bin/{program}", f"{registry}/{hub}/app:1.29.0", "version", "--short"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    # The engine looks the name up in the image's own /etc/passwd.
    assert done.stdout == "client version: 1.29.0\n", done.stderr


def test_both_variants_are_one_image(pushed: Ended) -> None:
    assert len(set(pushed.digests().values())) == 1


@BOTH
def test_it_is_started_as_that_user(pushed: Ended, registry: str, hub: str, platform: str) -> None:
    reference = f"{registry}/{hub}/app:1.29.0"
    subprocess.run(["docker", "pull", "--quiet", "--platform", platform, reference], check=True, capture_output=True)
    created = subprocess.run(
        ["docker", "create", "--platform", platform, reference, "version"], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        shown = subprocess.run(
            ["docker", "inspect", "--format", "{{.Config.User}}", created], check=True, capture_output=True, text=True
        )
        assert shown.stdout == "1338\n"
    finally:
        subprocess.run(["docker", "rm", "--force", created], check=True, capture_output=True)
