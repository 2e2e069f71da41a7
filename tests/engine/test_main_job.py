"""The main job for real: a Docker engine, a registry, Go for both platforms, arm64 images started."""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from builder.engine.docker import DockerEngine
from builder.oci.layout import Layout
from builder.oci.manifest import INDEX
from builder.oci.reference import HISTORY_TAG, RECORD_TAG, ImageReference, Platform
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests import ROOT
from tests.real.program import Ended, command, environment, istio_build

AMD64, ARM64 = "linux/amd64", "linux/arm64"
IMAGES = ("istioctl", "pilot", "proxyv2")
VERSION = "1.29.0"
# Without Envoy, which takes more to pack than all else.
SOME = ("--image", "istioctl,pilot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a user of istio-build has: a registry with base images, a place with Envoy, a source."""

    registry: str
    bases: str
    envoy_url: str
    source: Path
    cache: Path
    # Nothing of an earlier session on the same registry may be taken for this one's work.
    run: str

    def hub(self, name: str) -> str:
        """A hub of this session's own."""
        return f"{self.registry}/{self.run}/{name}"

    def settings(self, hub: str, source: Path | None = None) -> list[str]:
        """The flags of a job that pushes to this hub."""
        return [
            *("--source", str(source or self.source), "--hub", self.hub(hub)),
            *("--base-registry", self.bases, "--envoy-url", self.envoy_url),
        ]

    def push(self, hub: str, *more: str | Path, source: Path | None = None, cache: Path | None = None) -> Ended:
        """Push everything to this hub, with a JSON report."""
        env = {"ISTIO_BUILD_CACHE": str(cache or self.cache)}
        return istio_build("push", *self.settings(hub, source), "--output-format", "json", *more, env=env)

    def get(self, path: str) -> requests.Response:
        """Ask the registry, with no code of ours between."""
        url = f"http://{self.registry}/v2/{self.run}/{path}"
        return requests.get(url, headers={"Accept": INDEX}, timeout=30)

    def tags(self, repository: str) -> list[str]:
        """The tags of images in a repository, none where there is no such repository."""
        answer = self.get(f"{repository}/tags/list")
        found = set(answer.json().get("tags") or ()) if answer.ok else set()
        # This registry cannot delete tags, so that of the record of runs stays.
        return sorted(found - {RECORD_TAG})

    def index(self, repository: str, tag: str) -> dict[str, Any]:
        """An index as a puller gets it."""
        answer = self.get(f"{repository}/manifests/{tag}")
        assert answer.ok, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def manifest(self, repository: str, tag: str, platform: str) -> dict[str, Any]:
        """The manifest of one platform's image."""
        children = {entry["platform"]["architecture"]: entry for entry in self.index(repository, tag)["manifests"]}
        child = children[platform.partition("/")[2]]
        document: dict[str, Any] = requests.get(
            f"http://{self.registry}/v2/{self.run}/{repository}/manifests/{child['digest']}",
            headers={"Accept": child["mediaType"]},
            timeout=30,
        ).json()
        return document

    def config(self, repository: str, tag: str, platform: str) -> dict[str, Any]:
        """The configuration of one platform's image."""
        manifest = self.manifest(repository, tag, platform)
        document: dict[str, Any] = self.get(f"{repository}/blobs/{manifest['config']['digest']}").json()
        return document

    def layers(self, repository: str, tag: str, platform: str) -> list[str]:
        """The media types of one platform's layers, lowest first."""
        return [layer["mediaType"] for layer in self.manifest(repository, tag, platform)["layers"]]


@pytest.fixture(scope="module")
def site(registry: str, bases: str, envoy_url: str, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(
        registry=registry,
        bases=bases,
        envoy_url=envoy_url,
        source=source,
        cache=tmp_path_factory.mktemp("cache"),
        run=f"run-{uuid.uuid4().hex[:8]}",
    )


@pytest.fixture(scope="module")
def pushed(site: Site) -> Ended:
    """The main job, run once for all tests that only look at what it did."""
    ended = site.push("main")
    assert ended.code == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def built(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layouts of the same job."""
    output = tmp_path_factory.mktemp("layouts")
    ended = istio_build(
        *("build", *site.settings("main"), "--output", str(output)),
        env={"ISTIO_BUILD_CACHE": str(site.cache)},
    )
    assert ended.code == 0, ended.stderr
    return output


@pytest.fixture
def run_image(site: Site, runs_arm64: bool) -> Callable[..., str]:
    """Runs a command of an image at the hub on a platform, and gives what it printed."""
    if not runs_arm64:
        pytest.skip("this machine cannot run linux/arm64 images")

    def run(reference: str, platform: str, *arguments: str, entrypoint: str = "") -> str:
        full = site.hub(reference)
        docker = ["docker", "run", "--rm", "--quiet", "--pull", "always", "--network", "none", "--platform", platform]
        words = [*docker, *(["--entrypoint", entrypoint] if entrypoint else []), full, *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


class TestWhatIsAtTheHub:
    def test_variants_are_tagged_as_istio_does(self, pushed: Ended, site: Site) -> None:
        for image in IMAGES:
            assert site.tags(f"main/{image}") == [VERSION, f"{VERSION}-debug", f"{VERSION}-distroless", HISTORY_TAG]

    def test_stdout_has_the_references_and_nothing_else(self, pushed: Ended, site: Site) -> None:
        ended = istio_build("push", *site.settings("main"), env={"ISTIO_BUILD_CACHE": str(site.cache)})
        lines = ended.stdout.splitlines()
        assert len(lines) == 9
        digests = pushed.digests()
        assert f"{site.hub('main')}/pilot:{VERSION}-distroless@{digests['pilot-distroless']}" in lines

    @pytest.mark.parametrize("image", IMAGES)
    @pytest.mark.parametrize("tag", [VERSION, f"{VERSION}-debug", f"{VERSION}-distroless"])
    def test_an_index_holds_exactly_the_two_platforms(self, pushed: Ended, site: Site, image: str, tag: str) -> None:
        index = site.index(f"main/{image}", tag)
        assert index["mediaType"] == INDEX
        platforms = [entry["platform"] for entry in index["manifests"]]
        assert platforms == [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux"}]

    @pytest.mark.parametrize("platform", [AMD64, ARM64])
    @pytest.mark.parametrize("variant", ["debug", "distroless"])
    @pytest.mark.parametrize(
        ("image", "user", "entrypoint"),  # None: it has no USER, so its base's holds
        [
            ("istioctl", "1000:1000", "/usr/local/bin/istioctl"),
            ("pilot", "1337:1337", "/usr/local/bin/pilot-discovery"),
            ("proxyv2", None, "/usr/local/bin/pilot-agent"),
        ],
    )
    def test_user_entrypoint_and_env_are_istios(
        self, pushed: Ended, site: Site, platform: str, variant: str, image: str, user: str | None, entrypoint: str
    ) -> None:
        document = site.config(f"main/{image}", f"{VERSION}-{variant}", platform)
        assert f"{document['os']}/{document['architecture']}" == platform
        config = document["config"]
        # Istio's own base images: `base` runs as root, `iptables` as 65532 (docker/iptables.yaml).
        assert config.get("User", "") == (user if user is not None else "65532" if variant == "distroless" else "")
        assert config["Entrypoint"] == [entrypoint]
        env = dict(entry.split("=", 1) for entry in config.get("Env") or ())
        dependencies = {entry["name"]: entry["lastStableSHA"] for entry in json.loads((site.source / "istio.deps").read_text())}
        assert env.get("ISTIO_META_ISTIO_PROXY_SHA") == (dependencies["PROXY_REPO_SHA"] if image == "proxyv2" else None)
        if variant == "debug":
            # Istio's `base` has it, and what stands on it inherits it.
            assert env["DEBIAN_FRONTEND"] == "noninteractive"

    def test_the_report_tells_where_things_are_and_what_the_stages_took(self, pushed: Ended) -> None:
        report = pushed.report()
        assert {"resolve", "compile", "assemble", "push", "tag", "verify"} <= set(report["stages"])
        assert report["traffic"]["bytes_sent"] > 0
        assert all(set(image["platforms"]) == {AMD64, ARM64} for image in report["images"])
        assert "istioctl install" in pushed.stderr


class TestWhatRuns:
    @pytest.mark.parametrize("platform", [AMD64, ARM64])
    def test_istioctl_says_its_version(self, pushed: Ended, run_image: Callable[..., str], platform: str) -> None:
        output = run_image(f"main/istioctl:{VERSION}", platform, "version", "--remote=false")
        assert output.strip() == f"client version: {VERSION}"

    @pytest.mark.parametrize("platform", [AMD64, ARM64])
    @pytest.mark.parametrize("variant", ["debug", "distroless"])
    @pytest.mark.parametrize("image", ["pilot", "proxyv2"])
    def test_daemons_say_version_commit_and_status(
        self, pushed: Ended, site: Site, run_image: Callable[..., str], platform: str, variant: str, image: str
    ) -> None:
        commit = _git(site.source, "rev-parse", "HEAD")
        output = run_image(f"main/{image}:{VERSION}-{variant}", platform, "version", "-o", "json")
        version = json.loads(output)["clientVersion"]
        assert (version["version"], version["revision"], version["status"]) == (VERSION, commit, "Clean")

    @pytest.mark.parametrize("platform", [AMD64, ARM64])
    def test_envoy_is_the_real_one(self, pushed: Ended, run_image: Callable[..., str], platform: str) -> None:
        output = run_image(f"main/proxyv2:{VERSION}", platform, "--version", entrypoint="/usr/local/bin/envoy")
        assert "envoy" in output
        assert "version:" in output

    @pytest.mark.parametrize("platform", [AMD64, ARM64])
    def test_build_tags_reach_the_compiler(self, pushed: Ended, run_image: Callable[..., str], platform: str) -> None:
        assert "agent" in run_image(f"main/proxyv2:{VERSION}", platform, "version", "--features")
        assert "vtprotobuf" in run_image(f"main/pilot:{VERSION}", platform, "version", "--features")

    def test_istioctl_installs_from_the_users_hub(self, pushed: Ended, site: Site, run_image: Callable[..., str]) -> None:
        output = run_image(f"main/istioctl:{VERSION}", AMD64, "manifest", "generate")
        assert f"{site.hub('main')}/pilot:{VERSION}" in output
        assert f"{site.hub('main')}/proxyv2:{VERSION}" in output


def some_of(pushed: Ended) -> dict[str, str]:
    """The digests of `SOME`."""
    return {image: digest for image, digest in pushed.digests().items() if not image.startswith("proxyv2")}


class TestAgain:
    def test_the_same_push_uploads_nothing(self, pushed: Ended, site: Site) -> None:
        again = site.push("main", "--progress", "json")
        assert again.digests() == pushed.digests()
        report = again.report()
        assert {image["state"] for image in report["images"]} == {"unchanged"}
        assert report["traffic"]["bytes_sent"] == report["traffic"]["tags_moved"] == 0
        # Stderr is JSON lines to the very end, and the last one has the report, too.
        last = [json.loads(line) for line in again.stderr.splitlines()][-1]
        assert (last["event"], last["report"]) == ("result", report)

    def test_another_directory_owner_and_cache_give_the_same_digests(self, pushed: Ended, site: Site, tmp_path: Path) -> None:
        elsewhere = tmp_path / "some" / "where" / "else"
        shutil.copytree(site.source, elsewhere)
        if os.geteuid() == 0:
            # Git, and Go through it, refuse a tree of somebody else's unless told to trust it.
            subprocess.run(["chown", "-R", "65534:65534", elsewhere], check=True)
        again = site.push("main", "--rebuild", source=elsewhere, cache=tmp_path / "cache")
        assert again.digests() == pushed.digests()
        report = again.report()
        assert {image["state"] for image in report["images"]} == {"built"}
        assert report["traffic"]["blobs_uploaded"] == 0
        assert report["traffic"]["bytes_sent"] == 0

    def test_a_fetched_release_gives_the_same_digests_as_a_checkout(self, pushed: Ended, site: Site, tmp_path: Path) -> None:
        settings = site.settings("main")
        del settings[:2]
        ended = istio_build(
            *("push", *settings, "--rebuild", "--output-format", "json", *SOME),
            *("--istio", VERSION, "--git-url", site.source.as_uri()),
            env={"ISTIO_BUILD_CACHE": str(tmp_path)},
        )
        assert ended.digests() == some_of(pushed)

    def test_a_git_worktree_gives_the_same_digests_as_a_clone(self, pushed: Ended, site: Site, tmp_path: Path) -> None:
        worktree = tmp_path / "worktree"
        _git(site.source, "worktree", "add", "--quiet", "--detach", str(worktree), VERSION)
        try:
            assert site.push("main", "--rebuild", *SOME, source=worktree).digests() == some_of(pushed)
        finally:
            _git(site.source, "worktree", "remove", "--force", str(worktree))

    def test_an_index_that_lost_a_platform_is_made_whole(self, site: Site) -> None:
        first = site.push("lossy", "--image", "pilot", "--variant", "debug")
        index = site.index("lossy/pilot", VERSION)
        arm64 = next(entry for entry in index["manifests"] if entry["platform"]["architecture"] == "arm64")
        gone = requests.delete(f"http://{site.registry}/v2/{site.run}/lossy/pilot/manifests/{arm64['digest']}", timeout=30)
        assert gone.status_code == 202
        again = site.push("lossy", "--image", "pilot", "--variant", "debug")
        assert again.digests() == first.digests()
        assert site.config("lossy/pilot", VERSION, ARM64)["architecture"] == "arm64"

    def test_two_runs_at_once_agree(self, site: Site) -> None:
        arguments = ["push", *site.settings("twice"), "--image", "istioctl", "--output-format", "json"]
        env = environment({"ISTIO_BUILD_CACHE": str(site.cache)})
        runs = [
            subprocess.Popen(command(*arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        outputs = [run.communicate(timeout=300) for run in runs]
        assert [run.returncode for run in runs] == [0, 0], outputs
        first, second = (json.loads(stdout)["images"] for stdout, _ in outputs)
        assert [image["digest"] for image in first] == [image["digest"] for image in second]


class TestChoices:
    def test_an_uncommitted_change_is_built_and_shows_in_the_stamp(
        self, site: Site, run_image: Callable[..., str], tmp_path: Path
    ) -> None:
        dirty = tmp_path / "dirty"
        shutil.copytree(site.source, dirty)
        main = dirty / "pilot/cmd/pilot-discovery/main.go"
        main.write_text(main.read_text() + "\n// changed\n")
        ended = site.push("dirty", "--image", "pilot", "--variant", "debug", source=dirty)
        assert ended.code == 0, ended.stderr
        commit = _git(dirty, "rev-parse", "HEAD")
        tag = f"1.29-dev-{commit[:10]}-dirty"
        assert site.tags("dirty/pilot") == [tag, f"{tag}-debug", HISTORY_TAG]
        version = json.loads(run_image(f"dirty/pilot:{tag}", AMD64, "version", "-o", "json"))["clientVersion"]
        assert (version["revision"], version["status"]) == (f"{commit}-dirty", "Modified")
        assert "not committed" in ended.stderr

    def test_one_platform_alone(self, site: Site) -> None:
        ended = site.push("single", "--image", "pilot", "--platform", ARM64)
        assert ended.code == 0, ended.stderr
        index = site.index("single/pilot", VERSION)
        assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["arm64"]

    def test_several_hubs_and_tags(self, site: Site) -> None:
        ended = site.push(
            *("several", "--hub", site.hub("other"), "--tag", "1.29.0-corp.1", "--tag", "1.29"),
            *("--image", "istioctl", "--variant", "debug"),
        )
        assert ended.code == 0, ended.stderr
        wanted = ["1.29", "1.29-debug", "1.29.0-corp.1", "1.29.0-corp.1-debug", HISTORY_TAG]
        assert site.tags("several/istioctl") == site.tags("other/istioctl") == wanted

    def test_zstd_layers(self, site: Site, run_image: Callable[..., str]) -> None:
        ended = site.push("zstd", "--image", "pilot", "--variant", "debug", "--compression", "zstd")
        assert ended.code == 0, ended.stderr
        assert VERSION in run_image(f"zstd/pilot:{VERSION}", ARM64, "version")
        assert [layer.rpartition("+")[2] for layer in site.layers("zstd/pilot", VERSION, ARM64)[1:]] == ["zstd"]

    def test_what_the_builder_has_in_its_cache_changes_nothing(self, site: Site) -> None:
        """The same layers, already there in the other compression, and the other way round."""
        settings = ("cached", "--image", "pilot", "--variant", "debug", "--rebuild")
        first = site.push(*settings)
        zstd = site.push(*settings, "--compression", "zstd", "--tag", "zstd")
        assert [layer.rpartition("+")[2] for layer in site.layers("cached/pilot", "zstd", ARM64)] == ["gzip", "zstd"]
        again = site.push(*settings)
        assert first.digests() == again.digests() != zstd.digests()
        assert [layer.rpartition("+")[2] for layer in site.layers("cached/pilot", VERSION, ARM64)] == ["gzip", "gzip"]

    def test_a_push_for_fewer_platforms_takes_none_away(self, site: Site) -> None:
        narrow = ("narrow", "--image", "pilot", "--variant", "debug", "--platform", ARM64)
        whole = site.push(*narrow[:-2])
        refused = site.push(*narrow)
        assert refused.code == 18, refused.stderr
        assert f"narrow/pilot:{VERSION} has linux/amd64, linux/arm64; it would have linux/arm64" in refused.stderr
        assert "compile" not in refused.stderr
        assert site.index("narrow/pilot", VERSION)["manifests"][0]["platform"]["architecture"] == "amd64"
        assert site.push(*narrow[:-2]).digests() == whole.digests()
        told = site.push(*narrow, "--replace")
        assert told.code == 0, told.stderr
        assert [entry["platform"]["architecture"] for entry in site.index("narrow/pilot", VERSION)["manifests"]] == ["arm64"]
        merged = site.push(*narrow[:-1], AMD64, "--merge-platforms")
        assert merged.code == 0, merged.stderr
        assert site.index("narrow/pilot", VERSION) == site.index("narrow/pilot", f"{VERSION}-debug")
        assert merged.digests() == whole.digests()

    def test_a_dirty_tree_or_a_debug_build_does_not_take_a_release_over(self, site: Site, tmp_path: Path) -> None:
        image = ("taken", "--image", "pilot", "--variant", "debug", "--tag", VERSION)
        assert site.push(*image).code == 0
        before = site.index("taken/pilot", VERSION)
        dirty = tmp_path / "dirty"
        shutil.copytree(site.source, dirty)
        main = dirty / "pilot/cmd/pilot-discovery/main.go"
        main.write_text(main.read_text() + "\n// changed\n")
        for refused, code in (
            (site.push(*image, source=dirty), 26),
            (site.push(*image, "--debug"), 26),
            (site.push(*image, "--no-clobber", "--replace", source=dirty), 27),
            (site.push(*image, "--immutable", "1.*", "--replace", source=dirty), 27),
        ):
            assert refused.code == code, refused.stderr
            assert f"taken/pilot:{VERSION} is " in refused.stderr
            assert "compile" not in refused.stderr
        assert site.index("taken/pilot", VERSION) == before
        told = site.push(*image, "--replace", source=dirty)
        assert told.code == 0, told.stderr
        assert site.index("taken/pilot", VERSION) != before

    def test_an_envoy_of_ones_own(self, site: Site, tmp_path: Path) -> None:
        """The platform it is given for takes it, and one for the wrong platform is refused before anything is pushed."""
        program = tmp_path / "envoy"
        program.write_bytes(_elf(machine=0xB7))
        own = site.push("envoy", "--image", "proxyv2", "--variant", "debug", "--envoy", f"{ARM64}={program}")
        assert own.code == 0, own.stderr
        wrong = site.push("wrong-envoy", "--image", "proxyv2", "--envoy", f"{AMD64}={program}")
        assert wrong.code == 7
        assert "is a program for arm64" in wrong.stderr
        program.write_text("<html>not found</html>")
        page = site.push("wrong-envoy", "--image", "proxyv2", "--envoy", f"{ARM64}={program}")
        assert page.code == 7
        assert "is no program at all" in page.stderr
        assert site.tags("wrong-envoy/proxyv2") == []

    def test_a_fourth_image_needs_no_python(self, site: Site, run_image: Callable[..., str]) -> None:
        ended = site.push("fourth", "--recipes", ROOT / "examples" / "recipes", "--image", "echo")
        assert ended.code == 0, ended.stderr
        for platform in (AMD64, ARM64):
            assert "hello" in run_image(f"fourth/echo:{VERSION}", platform, "hello")
        config = site.config("fourth/echo", VERSION, ARM64)["config"]
        assert config["User"] == "65532:65532"
        assert f"ECHO_HUB={site.hub('fourth')}" in config["Env"]


class TestLayouts:
    def test_build_stops_at_layouts_with_the_digests_of_the_push(self, built: Path, pushed: Ended) -> None:
        digests = {path.name: str(Layout(path).index().digest) for path in built.iterdir() if path.is_dir()}
        assert digests == pushed.digests()

    def test_layouts_go_to_a_hub_behind_an_air_gap(self, built: Path, pushed: Ended, site: Site) -> None:
        ended = istio_build(
            *("push", "--from", str(built), "--hub", site.hub("gap"), "--tag", "7", "--output-format", "json"),
            env={"ISTIO_BUILD_CACHE": str(site.cache)},
        )
        assert ended.digests() == pushed.digests()
        assert site.tags("gap/proxyv2") == ["7", "7-debug", "7-distroless", HISTORY_TAG]
        assert f"stamped for {site.hub('main')}" in ended.stderr

    def test_a_damaged_layout_is_refused(self, built: Path, site: Site, tmp_path: Path) -> None:
        damaged = tmp_path / "damaged"
        shutil.copytree(built, damaged)
        layout = Layout(damaged / "pilot-debug")
        manifest = layout.manifest(layout.index().children()[0])
        blob = layout.blob(manifest.layers()[-1].digest)
        blob.write_bytes(blob.read_bytes()[:-100])
        ended = istio_build("push", "--from", damaged, "--hub", site.hub("damaged"))
        assert ended.code == 12
        assert "is damaged: it has " in ended.stderr
        assert site.tags("damaged/pilot") == []

    def test_one_platform_can_be_loaded_into_the_engine(self, site: Site, tmp_path: Path) -> None:
        reference = f"{site.hub('load')}/istioctl:{VERSION}"
        ended = istio_build(
            *("build", *site.settings("load"), "--image", "istioctl", "--variant", "debug"),
            *("--load", AMD64, "--output", str(tmp_path)),
            env={"ISTIO_BUILD_CACHE": str(site.cache)},
        )
        assert ended.code == 0, ended.stderr
        try:
            output = DockerEngine(os.environ).run(reference, Platform("linux", "amd64"), ["version", "--remote=false"])
            assert output.strip() == f"client version: {VERSION}"
        finally:
            subprocess.run(["docker", "image", "rm", "--force", reference], capture_output=True, check=False)


class TestWhatGoesWrong:
    def test_a_base_without_the_platform(self, site: Site) -> None:
        base = ImageReference.parse(f"{site.bases}/base:1.29-2026-02-04T19-02-21")
        index = HttpRegistry(credentials=lambda host: None, retry=RetryPolicy(sleep=time.sleep)).get_manifest(base)
        assert index is not None
        amd64 = next(child for child in index.children() if child.platform == Platform("linux", "amd64"))
        single = f"base={base.repository.at(amd64.digest)}"
        ended = site.push("no-base", "--image", "pilot", "--variant", "debug", "--base", single)
        assert ended.code == 10
        assert "has no linux/arm64; it has linux/amd64" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_a_compiler_error_ends_the_run_and_tags_nothing(self, site: Site, tmp_path: Path) -> None:
        broken = tmp_path / "broken"
        shutil.copytree(site.source, broken)
        (broken / "pilot/cmd/pilot-discovery/broken.go").write_text("package main\n\nfunc broken() { return 1 }\n")
        ended = site.push("broken", source=broken)
        assert ended.code == 7
        assert "broken.go" in ended.stderr
        assert site.tags("broken/istioctl") == []

    def test_an_unknown_builder_is_named_before_anything_is_compiled(self, site: Site, tmp_path: Path) -> None:
        ended = site.push("builder", "--engine", "buildx", "--builder", "nobody", cache=tmp_path)
        assert ended.code == 6
        assert "nobody" in ended.stderr
        assert "Known builders: default" in ended.stderr

    def test_no_engine_says_so(self, site: Site, tmp_path: Path) -> None:
        env = {"ISTIO_BUILD_CACHE": str(tmp_path), "DOCKER_HOST": "unix:///nowhere/docker.sock"}
        ended = istio_build("push", *site.settings("no-engine"), "--engine", "buildx", env=env)
        assert ended.code == 6
        assert "no Docker engine answers" in ended.stderr
        assert site.tags("no-engine/pilot") == []

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        if os.geteuid() != 0:
            pytest.skip("only root can make a small file system")
        mount = tmp_path / "small"
        mount.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], check=True)
        yield mount
        subprocess.run(["umount", "--lazy", mount], check=True)

    def test_a_full_disk_says_which_and_tags_nothing(self, site: Site, small_disk: Path) -> None:
        ended = site.push("full", "--image", "pilot", cache=small_disk)
        assert ended.code == 17, ended.stderr
        # By whom it is met first: a compiler, or us.
        assert "no space left on device" in ended.stderr.lower()
        assert str(small_disk) in ended.stderr
        assert "Traceback" not in ended.stderr
        assert site.tags("full/pilot") == []

    def test_ctrl_c_ends_children_and_tags_nothing(self, site: Site, tmp_path: Path) -> None:
        # An empty build cache, so that there is a compiler to interrupt.
        env = environment({"ISTIO_BUILD_CACHE": str(tmp_path / "cache"), "GOCACHE": str(tmp_path / "go")})
        arguments = command("push", *site.settings("interrupted"), "--progress", "plain")
        process = subprocess.Popen(
            arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("compile"):
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130, stderr
        assert "interrupted" in stderr
        assert site.tags("interrupted/pilot") == []
        assert _commands_below(str(tmp_path)) == []


def _commands_below(path: str) -> list[str]:
    """Command lines of running processes that mention a path."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if path in words:
            found.append(words)
    return found


def _git(tree: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", tree, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _elf(machine: int) -> bytes:
    """The least that is an ELF program of this machine: a 64-bit little-endian header, and a segment with nothing in it."""
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = (
        (2).to_bytes(2, "little") + machine.to_bytes(2, "little") + (1).to_bytes(4, "little") + (64 << 64).to_bytes(24, "little")
    )
    sizes = b"".join(number.to_bytes(2, "little") for number in (64, 56, 1, 0, 0, 0))
    return identity + header + (0).to_bytes(4, "little") + sizes + bytes(56)
