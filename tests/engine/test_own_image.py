"""istio-build's own image: made for both platforms, started on both, run as the CronJob says, and as docs/container.md says."""

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from builder import __version__
from builder.oci.manifest import INDEX
from tests import ROOT
from tests.process.test_registry_settings import HTPASSWD, PASSWORD, WRONG, configure
from tests.real.git_server import running_git_server
from tests.real.pod import CronJob, PodEnded
from tests.real.program import istio_build
from tests.real.registry import registry_program, running_registry
from tests.samples.docker_config import auth
from tools.demo.pulled import NATIVE
from tools.image import Parts, make_parts, push_image

AMD64, ARM64 = "linux/amd64", "linux/arm64"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
USER = 65532
SETTINGS = """\
git_url: {git}/mini-istio
base_registry: {bases}
envoy_url: {envoy_url}
go: machine
"""
NIGHTLY = """\
hub: {hub}
istio: 1.29+
image: [istioctl, echo]
recipes: recipes
"""
# All that it stands on: what is compiled is for its platform, and git and apt have what they need.
INSIDE = """\
python3 -c 'import apprise, deflate, docker, isal.igzip, pydantic, yaml, zstandard; print("imported")'
go version
git --version
git ls-remote https://127.0.0.1:9/istio 2>&1 || true
apt-get --version | head -n 1
ls /usr/share/keyrings/debian-archive-keyring.gpg
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImage:
    """The image as it was pushed, named with its digest, and what it was put together of."""

    repository: str
    digest: str
    parts: Parts

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"

    def get(self, what: str, media_type: str) -> Any:  # noqa: ANN401 - JSON
        """Ask the registry, with no code of ours between."""
        registry, _, path = self.repository.partition("/")
        answer = requests.get(f"http://{registry}/v2/{path}/{what}", headers={"Accept": media_type}, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def run(self, platform: str, *words: str) -> str:
        """Run it without a network and without anything to write to but /tmp; all that it prints."""
        confined = ("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--platform", platform)
        argv = ["docker", "run", "--rm", "--quiet", *confined, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def image(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnImage]:
    if not (shutil.which("apt-get") and KEYRING.exists()):
        pytest.skip("NO DEBIAN ARCHIVE: the image's base is built from packages with apt-get and debian-archive-keyring")
    work = tmp_path_factory.mktemp("own-image")
    parts, repository = make_parts(work), f"{registry}/tools-{uuid.uuid4().hex[:8]}/istio-build"
    image = OwnImage(repository=repository, digest=push_image(parts, f"{repository}:{__version__}"), parts=parts)
    yield image
    subprocess.run(["docker", "image", "rm", "--force", image.reference], capture_output=True, check=False)
    # It is large, and nobody looks at it afterwards.
    shutil.rmtree(work)


class TestTheImage:
    def test_it_is_for_exactly_two_platforms_and_no_root(self, image: OwnImage) -> None:
        index = image.get(f"manifests/{__version__}", INDEX)
        assert index["mediaType"] == INDEX
        children = {f"{child['platform']['os']}/{child['platform']['architecture']}": child for child in index["manifests"]}
        assert list(children) == [AMD64, ARM64]
        for platform, child in children.items():
            manifest = image.get(f"manifests/{child['digest']}", child["mediaType"])
            document = image.get(f"blobs/{manifest['config']['digest']}", "*/*")
            assert f"{document['os']}/{document['architecture']}" == platform
            assert document["config"]["User"] == f"{USER}:{USER}"
            assert document["config"]["Labels"]["org.opencontainers.image.version"] == __version__

    @pytest.mark.parametrize("platform", [AMD64, ARM64])
    def test_it_starts_and_has_what_it_needs(self, image: OwnImage, platform: str, runs_arm64: bool) -> None:
        if platform == ARM64 and not runs_arm64:
            pytest.skip("NO EMULATION of linux/arm64 on this engine")
        assert image.run(platform, image.reference, "--version") == f"istio-build, version {__version__}\n"
        told = image.run(platform, "--entrypoint", "sh", image.reference, "-ec", INSIDE).splitlines()
        wanted = ("imported", f"go version go.+ {platform}", "git version ", "fatal: .*onnect", "apt ", str(KEYRING))
        assert [pattern for pattern, line in zip(wanted, told, strict=True) if not re.match(pattern, line)] == [], told

    def test_the_same_parts_give_the_same_digest(self, image: OwnImage) -> None:
        """With nothing of BuildKit's cache; one platform's, as it takes its time to be compressed."""
        children = {
            child["platform"]["architecture"]: child["digest"]
            for child in image.get(f"manifests/{__version__}", INDEX)["manifests"]
        }
        again = push_image(image.parts, f"{image.repository}:again", "--no-cache", architectures=["arm64"])
        assert again == children["arm64"]


class Site:
    """A project at a git server and a hub that wants a password, both of which are reached from everywhere on this machine."""

    def __init__(self, image: str, directory: Path, host: str, settings: Mapping[str, str]) -> None:
        self.image, self.directory, self.host = image, directory, host
        self.hub = f"{host}/istio"
        self.settings = SETTINGS.format(**settings)
        self.project = directory / "project"
        shutil.copytree(ROOT / "examples" / "recipes", self.project / "recipes")
        (self.project / "istio-build.yaml").write_text(self.settings + NIGHTLY.format(hub=self.hub))

    def login(self, password: str = PASSWORD) -> str:
        """What Docker knows of somebody who has logged in."""
        return json.dumps({"auths": {self.host: auth("alice", password)}})

    def cron_job(self, password: str = PASSWORD) -> CronJob:
        """The CronJob, on a node with a Secret that has this password."""
        return self.applied(self.manifest(), password)

    def manifest(self) -> str:
        written = istio_build("schedule", "kubernetes", "--image", self.image, cwd=self.project)
        assert written.code == 0, written.stderr
        return written.stdout

    def applied(self, manifest: str, password: str = PASSWORD) -> CronJob:
        secret = {".dockerconfigjson": self.login(password).encode()}
        return CronJob(manifest, self.directory / "node", {"istio-build-registry": secret})

    def platforms(self, image: str, tag: str) -> list[str]:
        """Those of an image at the hub, by the registry's own word."""
        url = f"http://{self.host}/v2/istio/{image}/manifests/{tag}"
        answer = requests.get(url, headers={"Accept": INDEX}, auth=("alice", PASSWORD), timeout=30)
        assert answer.ok, answer.text
        return [f"{child['platform']['os']}/{child['platform']['architecture']}" for child in answer.json()["manifests"]]


@pytest.fixture(scope="module")
def site(image: OwnImage, bases: str, small_envoy_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("only root can give volumes to a pod's group")
    directory = tmp_path_factory.mktemp("site")
    subprocess.run([ROOT / "examples" / "make-source", directory / "served" / "mini-istio", "1.30.0"], check=True)
    place = directory / "registry"
    place.mkdir()
    (place / "htpasswd").write_text(HTPASSWD)
    port = configure(place, more=f"auth: {{htpasswd: {{realm: tests, path: {place}/htpasswd}}}}")
    with (
        running_registry(registry_program("the CronJob of tests/engine/test_own_image.py"), place, port) as host,
        running_git_server(directory / "served") as git,
    ):
        yield Site(image.reference, directory, host, {"git": git, "bases": bases, "envoy_url": small_envoy_url})
    shutil.rmtree(directory / "node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nights:
    """Two nights in a row, and where the node keeps the claim."""

    first: PodEnded
    second: PodEnded
    claim: Path

    @property
    def both(self) -> tuple[PodEnded, PodEnded]:
        return self.first, self.second


@pytest.fixture(scope="module")
def nights(site: Site) -> Nights:
    job = site.cron_job()
    first = job.run(str(NATIVE))
    assert first.code == 0, first.stderr
    return Nights(first=first, second=job.run(str(NATIVE)), claim=job.claim("istio-build-cache"))


class TestTheCronJob:
    def test_the_first_night_pushes_and_the_second_changes_nothing(self, site: Site, nights: Nights) -> None:
        pushed = r"{} pushed \(3 images made, \d+ tags moved\)"
        releases = [pushed.format(re.escape(release)) for release in ("1.30.0", "1.29.0")]
        assert re.fullmatch(rf"{', '.join(releases)}; [\d.]+ s\n", nights.first.stdout)
        for tag in ("1.29.0", "1.30.0"):
            assert site.platforms("istioctl", f"{tag}-distroless") == site.platforms("echo", tag) == [AMD64, ARM64]
        assert nights.second.code == 0, nights.second.stderr
        assert re.fullmatch(r"nothing changed: 1\.30\.0, 1\.29\.0; [\d.]+ s\n", nights.second.stdout)
        assert "compile " in nights.first.stderr
        assert "compile " not in nights.second.stderr

    def test_all_that_it_writes_is_in_the_claim_and_its_own(self, nights: Nights) -> None:
        assert [night.changed for night in nights.both] == [(), ()]
        written = list(nights.claim.rglob("*"))
        assert {path.lstat().st_uid for path in written} == {USER}
        assert {path.name for path in nights.claim.iterdir()} <= {"home", "istio-build", "python"}

    def test_the_password_is_nowhere(self, nights: Nights) -> None:
        secrets = (PASSWORD, auth("alice", PASSWORD)["auth"])
        assert [secret for secret in secrets for night in nights.both if secret in night.stdout + night.stderr] == []
        # Go's own cache is of programs alone, and large.
        files = [path for path in nights.claim.glob("istio-build/**/*") if path.is_file()]
        assert files
        assert [path for path in files for secret in secrets if secret.encode() in path.read_bytes()] == []

    def test_one_that_fails_ends_with_its_own_code(self, site: Site) -> None:
        ended = site.cron_job(WRONG).run(str(NATIVE))
        assert ended.code == 28
        assert ended.stdout.startswith("1.30.0 failed (code 14), 1.29.0 failed (code 14); ")
        assert f"log in again with `docker login {site.host}`" in ended.stderr
        assert WRONG not in ended.stderr

    def test_its_root_is_read_only(self, site: Site) -> None:
        """By the second of these, what looks for changes is known to see one."""
        args = re.compile(r"args: \[.*\]")
        manifest = args.sub("args: [init, --hub, h.example/i]", site.manifest())
        refused = site.applied(manifest).run(str(NATIVE))
        assert refused.code != 0
        assert "Read-only file system" in refused.stderr
        opened = site.applied(manifest.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")).run(str(NATIVE))
        assert (opened.code, opened.changed) == (0, ("/work", "/work/istio-build.yaml")), opened.stderr


class TestThePage:
    """What docs/container.md says to type, typed; where the hub is and what it is made of are the tests' own."""

    @pytest.fixture
    def work(self, site: Site, nights: Nights, source: Path, tmp_path: Path) -> Path:
        # As a directory is that somebody works in; pytest's are for their owner alone.
        tmp_path.chmod(0o755)
        (tmp_path / "istio-build.yaml").write_text(f"{site.settings}image: [proxyv2]\nvariant: [distroless]\n")
        shutil.copytree(source, tmp_path / "mini-istio", symlinks=True)
        # One that is kept, as the page advises.
        (tmp_path / "cache").symlink_to(nights.claim)
        return tmp_path

    def command(self, site: Site) -> str:
        page = (ROOT / "docs" / "container.md").read_text()
        command: str
        [command] = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "docker run" in block]
        replaced: Mapping[str, str] = {
            "sudo ": "",
            "docker run ": f"docker run --network host --platform {NATIVE} ",
            f"registry.corp.example/tools/istio-build:{__version__}": site.image,
            "registry.corp.example/istio": f"{site.hub}/page",
        }
        for there, here in replaced.items():
            assert there in command
            command = command.replace(there, here)
        return command

    def test_it_pushes_a_release_and_a_checkout_that_is_mounted(self, site: Site, work: Path) -> None:
        command = self.command(site)
        checkout = command.replace("--istio 1.29.0", "--source mini-istio --rebuild")
        assert checkout != command
        pushed = []
        for script in (command, checkout):
            env = {**os.environ, "DOCKER_AUTH_CONFIG": site.login()}
            done = subprocess.run(["sh", "-ec", script], cwd=work, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            pushed.append(done.stdout)
        assert re.fullmatch(rf"{re.escape(site.hub)}/page/proxyv2:1\.29\.0-distroless@sha256:[0-9a-f]{{64}}\n", pushed[0])
        assert pushed[1] == pushed[0]
        assert site.platforms("page/proxyv2", "1.29.0-distroless") == [AMD64, ARM64]
