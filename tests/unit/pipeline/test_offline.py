"""With --offline nobody but hubs is asked: what is cached is answered from there, all else is an error that names it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.engine.builtin import Builtin
from builder.errors import OfflineError, RequestError, SourceError
from builder.images.known_content import KnownContent
from builder.net.download import HttpDownloader
from builder.oci.manifest import MANIFEST, Descriptor, Manifest
from builder.oci.reference import Digest, ImageReference
from builder.pipeline.offline import OfflineDownloader, OfflineRegistry, OfflineReleases, offline_environment
from builder.pipeline.wiring import Adapters
from builder.ports import Completed, PackageSources, PackageWishes, ProcessFailed, TreeState
from builder.runtime.cancellation import Cancellation
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import FaultServer, Received, Reply
from tests.fakes.registry import FakeRegistry
from tests.fakes.runner import Call, FakeRunner
from tests.samples.plans import make_state
from tests.unit.resolve.test_resolver import add_base

BASE = ImageReference.parse("bases.test/istio/base:1.29")
HUB = ImageReference.parse("hub.test/istio/pilot:1.29")
CONTENT = b"content"
BLOB = Descriptor(media_type="x", digest=Digest.of(CONTENT), size=len(CONTENT))
MANIFEST_OF_ONE = Manifest(media_type=MANIFEST, content=json.dumps({"config": BLOB.to_json(), "layers": []}).encode())


@pytest.fixture
def world() -> FakeRegistry:
    registry = FakeRegistry()
    for reference in (BASE, HUB):
        add_base(registry, str(reference))
        registry.blobs[reference.repository][BLOB.digest] = CONTENT
    return registry


@pytest.fixture
def offline(world: FakeRegistry, tmp_path: Path) -> OfflineRegistry:
    return OfflineRegistry(world, frozenset({"hub.test"}), tmp_path / "documents")


CALLS: dict[str, Callable[[Any, ImageReference, Path], object]] = {
    "get_manifest": lambda registry, reference, path: registry.get_manifest(reference),
    "get_blob": lambda registry, reference, path: registry.get_blob(reference.repository, BLOB),
    "pull_blob": lambda registry, reference, path: registry.pull_blob(reference.repository, BLOB, path),
    "has_blob": lambda registry, reference, path: registry.has_blob(reference.repository, BLOB.digest),
    "push_blob": lambda registry, reference, path: registry.push_blob(reference.repository, BLOB, lambda: path),
    "put_manifest": lambda registry, reference, path: registry.put_manifest(reference.repository, MANIFEST_OF_ONE),
    "put_tag": lambda registry, reference, path: registry.put_tag(reference, MANIFEST_OF_ONE),
    "find_blob": lambda registry, reference, path: registry.find_blob(reference.repository, Digest.of(CONTENT)),
    "has_manifest": lambda registry, reference, path: registry.has_manifest(reference.repository, MANIFEST_OF_ONE.digest),
    "find_referrers": lambda registry, reference, path: registry.find_referrers(reference.repository, MANIFEST_OF_ONE.digest),
    "list_tags": lambda registry, reference, path: registry.list_tags(reference.repository),
    "check_push": lambda registry, reference, path: registry.check_push(reference.repository),
    "delete_tag": lambda registry, reference, path: registry.delete_tag(reference),
}


class TestRegistries:
    def test_every_call_that_there_is_is_tried_here(self) -> None:
        assert set(CALLS) == {name for name in vars(OfflineRegistry) if not name.startswith("_")}

    @pytest.mark.parametrize("operation", sorted(CALLS))
    def test_others_than_hubs_are_asked_nothing(
        self, offline: OfflineRegistry, world: FakeRegistry, tmp_path: Path, operation: str
    ) -> None:
        with pytest.raises(OfflineError, match=r"bases\.test/istio/base"):
            CALLS[operation](offline, BASE, tmp_path / "file")
        assert world.log == []

    @pytest.mark.parametrize("operation", sorted(CALLS))
    def test_hubs_are_asked(self, offline: OfflineRegistry, world: FakeRegistry, tmp_path: Path, operation: str) -> None:
        (tmp_path / "file").write_bytes(CONTENT)
        CALLS[operation](offline, HUB, tmp_path / "file")
        assert [name for name, _ in world.log] == [operation]

    def test_what_was_read_before_is_known_by_digest(self, offline: OfflineRegistry, world: FakeRegistry, tmp_path: Path) -> None:
        known = KnownContent(world, tmp_path / "documents")
        index = known.get_manifest(BASE)
        assert index
        child = known.get_manifest(BASE.repository.at(index.children()[0].digest))
        assert child
        config = known.get_blob(BASE.repository, child.config())
        world.log.clear()
        assert offline.get_manifest(BASE.pinned(index.digest)) == index
        assert offline.get_manifest(BASE.repository.at(child.digest)) == child
        assert offline.get_blob(BASE.repository, child.config()) == config
        assert world.log == []

    def test_a_tag_has_to_be_bound(self, offline: OfflineRegistry) -> None:
        with pytest.raises(OfflineError) as raised:
            offline.get_manifest(BASE)
        assert "`istio-build lock`" in raised.value.hint
        assert "--locked" in raised.value.hint


class TestDownloads:
    def test_are_refused_without_a_request_and_without_a_password(self, tmp_path: Path) -> None:
        with FaultServer(answer_nothing).running() as server:
            downloader = OfflineDownloader(HttpDownloader(retry=RetryPolicy(attempts=1, sleep=lambda _: None)))
            url = f"http://me:secret@{server.host}/envoy.tar.gz"
            for call in (
                lambda: downloader.read_text(url),
                lambda: downloader.exists(url),
                lambda: downloader.download(url, BLOB.digest.hex, tmp_path / "file"),
                lambda: downloader.download_unsummed(url, tmp_path / "file"),
            ):
                with pytest.raises(OfflineError, match=r"envoy\.tar\.gz is not in the cache") as raised:
                    call()
                assert "secret" not in raised.value.message
            assert server.received == []

    def test_files_of_this_machine_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "envoy.sha256").write_text("a sum")
        downloader = OfflineDownloader(HttpDownloader(retry=RetryPolicy(attempts=1, sleep=lambda _: None)))
        assert downloader.read_text(str(tmp_path / "envoy.sha256")) == "a sum"
        assert downloader.exists((tmp_path / "envoy.sha256").as_uri())


def answer_nothing(_: Received) -> Reply:
    return Reply(200, CONTENT)


class FullDisk:
    """Git where nothing can be written any more."""

    def list_tags(self, url: str) -> tuple[str, ...]:
        raise SourceError("git init failed: no space")

    def checkout_release(self, url: str, tag: str) -> Path:
        raise SourceError("git worktree failed: no space")

    def describe(self, tree: Path) -> TreeState:
        return make_state()

    def patch(self, tree: Path, patches: Sequence[tuple[str, bytes]], into: Path) -> tuple[Path, str]:
        return tree, "0" * 40


class Machine:
    """Adapters that went offline, on a machine with Go 1.26.0 and 1.25.3 in its module cache."""

    def __init__(self, root: Path) -> None:
        go = root / "bin" / "go"
        go.parent.mkdir(parents=True)
        go.touch(mode=0o755)
        self.runner = FakeRunner(self.answer)
        environment = {"PATH": str(go.parent), "ISTIO_BUILD_CACHE": str(root / "cache"), "GOPROXY": "https://proxy.example"}
        self.adapters = Adapters(environment, Cancellation(), lambda event: None)
        self.adapters.run = self.runner  # type: ignore[assignment]
        self.adapters.go_offline(frozenset({"hub.test"}))

    def answer(self, call: Call) -> Completed:
        if call.argv[0] == "git":
            raise ProcessFailed(call.argv, 128, "", "fatal: transport 'https' not allowed\n")
        if call.env["GOTOOLCHAIN"] not in ("local", "go1.25.3"):
            raise ProcessFailed(call.argv, 1, "", "go: module lookup disabled by GOPROXY=off\n")
        version = "go1.26.0" if call.env["GOTOOLCHAIN"] == "local" else "go1.25.3"
        return Completed(stdout=json.dumps({"GOVERSION": version, "GOROOT": "/modules/go", "GOPROXY": "off"}), stderr="")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class TestPrograms:
    def test_go_is_told_to_ask_nobody(self, machine: Machine) -> None:
        assert machine.adapters.go.fetch("1.25.3").version == "1.25.3"
        for call in machine.runner.calls:
            assert call.env["GOPROXY"] == "off"
        # The first asks Go for what its owner has set, which the variables beat.
        assert (machine.runner.calls[0].env["GONOPROXY"], machine.runner.calls[0].env["GOVCS"]) == ("none", "*:off")

    def test_a_go_that_is_not_cached_is_an_error_and_not_another_go(self, machine: Machine) -> None:
        with pytest.raises(OfflineError, match=r"Go 1\.25\.9 is not in the cache"):
            machine.adapters.go.fetch("1.25.9")
        with pytest.raises(OfflineError, match="which versions of Go"):
            machine.adapters.go.versions()

    def test_a_release_that_was_not_fetched_is_an_error(self, machine: Machine) -> None:
        with pytest.raises(OfflineError, match=r"release 1\.29\.0 of https://git\.example/istio is not in the cache"):
            machine.adapters.git.checkout_release("https://me:secret@git.example/istio", "1.29.0")
        assert {call.env["GIT_ALLOW_PROTOCOL"] for call in machine.runner.calls} == {"file"}

    def test_what_else_git_says_stays(self) -> None:
        with pytest.raises(SourceError, match="no space"):
            OfflineReleases(FullDisk()).checkout_release("https://git.example/istio", "1.29.0")
        with pytest.raises(SourceError, match="no space"):
            OfflineReleases(FullDisk()).list_tags("https://git.example/istio")

    def test_which_releases_there_are_is_not_asked(self, machine: Machine) -> None:
        with pytest.raises(OfflineError, match=r"which releases https://git\.example/istio has is not") as raised:
            machine.adapters.git.list_tags("https://me:secret@git.example/istio")
        assert "Name a release exactly" in raised.value.hint

    def test_packages_are_not_looked_for(self, machine: Machine) -> None:
        sources = PackageSources(architecture="arm64", lines=("deb http://a.example x main",), keyring="k", keyring_package="p")
        with pytest.raises(OfflineError, match="packages there are for arm64"):
            machine.adapters.apt.find(sources, PackageWishes(with_dependencies=(), alone=()))
        assert machine.runner.calls == []

    def test_images_are_assembled_by_ourselves(self, machine: Machine) -> None:
        for kind in ("auto", "builtin"):
            assert isinstance(machine.adapters.engine_for(kind, ""), Builtin)
        with pytest.raises(RequestError, match="--engine buildx needs Docker"):
            machine.adapters.engine_for("buildx", "")
        with pytest.raises(RequestError, match="--compile-in needs Docker"):
            machine.adapters.engine_for("auto", "--compile-in")

    def test_what_the_caller_has_set_does_not_count(self) -> None:
        assert offline_environment({"GOPROXY": "direct", "GONOPROXY": "corp.example", "HOME": "/h"})["GONOPROXY"] == "none"
