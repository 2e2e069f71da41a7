"""Artifacts come from the first source that has them, and the run says which one when it is not the first."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.config.request import ArtifactOverride, Request
from builder.errors import AccessDenied, ArtifactError, ChecksumError, RequestError
from builder.oci.layout import Layout
from builder.oci.reference import Digest, ImageReference, Platform
from builder.plan.lock import FileArtifact, ImageArtifact, LockedArtifact, UrlArtifact
from builder.plan.selection import recipe_values
from builder.recipe.schema import ReleaseRecipe
from builder.resolve.artifacts import ArtifactFinder
from tests.fakes.downloader import FakeDownloader
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64, ARM64, BASE_LAYER, add_image, make_config, make_digest, write_image, write_image_index
from tests.samples.lookups import make_lookups
from tests.samples.plans import PROXY_SHA, load_book, make_request, make_source
from tests.samples.seeding import seed

FIRST = "https://storage.googleapis.com/istio-build/proxy"
SECOND = "https://blob.istio.io/istio-build/proxy"
ZTUNNEL = "https://storage.googleapis.com/istio-build/ztunnel"
IMAGE = "docker.io/istio/proxyv2:1.29.0"
SHA = make_digest("envoy").hex


def archive(base: str, platform: Platform = AMD64, kind: str = "alpha") -> str:
    return f"{base}/envoy-{kind}-{PROXY_SHA}{'' if platform == AMD64 else '-arm64'}.tar.gz"


@dataclass
class World:
    """What is published, and what people were told."""

    root: Path
    downloader: FakeDownloader = field(default_factory=FakeDownloader)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    notes: list[str] = field(default_factory=list)

    def publish(self, url: str, sha256: str = SHA) -> None:
        self.downloader.files[url] = b"an archive"
        self.downloader.files[url.replace(".tar.gz", ".sha256")] = f"{sha256}  /home/builder/envoy".encode()

    def publish_image(self, reference: str = IMAGE, platforms: tuple[Platform, ...] = (AMD64, ARM64)) -> dict[Platform, Digest]:
        layout = Layout(self.root / reference.replace("/", "_"))
        images = {platform: add_image(layout, make_config(platform), [BASE_LAYER]) for platform in platforms}
        seed(self.registry, write_image_index(layout.root, images), ImageReference.parse(reference))
        return {platform: image.digest for platform, image in images.items()}

    def find(
        self,
        name: str = "envoy",
        platform: Platform = AMD64,
        release: ReleaseRecipe | None = None,
        **changes: Any,  # noqa: ANN401 - fields of the request
    ) -> LockedArtifact:
        request: Request = make_request(**changes)
        recipe = release or load_book().release
        values = recipe_values(request, recipe, make_source())
        lookups = make_lookups(self.root / "cache", self.registry, self.downloader, self.notes.append)
        finder = ArtifactFinder(request=request, release=recipe, values=values, lookups=lookups)
        return finder.find(name, platform)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class TestTheOrder:
    def test_the_first_place_is_taken_without_a_word(self, world: World) -> None:
        world.publish(archive(FIRST))
        world.publish_image()
        found = world.find()
        assert (type(found), found.location, found.sha256, world.notes) == (UrlArtifact, archive(FIRST), SHA, [])
        assert world.registry.operations("get_manifest") == []

    def test_a_file_of_ones_own_comes_before_all(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "envoy").write_bytes(b"own")
        own = (ArtifactOverride(artifact="envoy", platform=AMD64, location=f"{tmp_path}/envoy"),)
        world.publish(archive(FIRST))
        assert isinstance(world.find(artifact_overrides=own), FileArtifact)
        assert isinstance(world.find(artifact_overrides=own, artifact_sources=(("envoy", ("url", "file")),)), UrlArtifact)
        world.downloader.files.clear()
        assert isinstance(world.find(artifact_overrides=own, artifact_sources=(("envoy", ("url", "file")),)), FileArtifact)
        assert "is not there" in world.notes[0]

    def test_the_next_host_is_told(self, world: World) -> None:
        world.publish(archive(SECOND))
        assert world.find().location == archive(SECOND)
        [note] = world.notes
        assert note.startswith(f"envoy for linux/amd64 is taken from {archive(SECOND)}, for {FIRST}/")

    def test_an_archive_that_is_gone_is_looked_for_elsewhere_though_its_sum_is_there(self, world: World) -> None:
        world.publish(archive(FIRST))
        del world.downloader.files[archive(FIRST)]
        digests = world.publish_image()
        found = world.find()
        assert (type(found), found.sha256, found.member) == (ImageArtifact, digests[AMD64].hex, "/usr/local/bin/envoy")
        assert found.location == f"{IMAGE}@{digests[AMD64]}"
        assert f"{archive(FIRST)} is not there" in world.notes[0]

    def test_an_archive_that_is_gone_but_was_fetched_before_is_still_good(self, world: World) -> None:
        world.publish(archive(FIRST))
        del world.downloader.files[archive(FIRST)]
        (world.root / "cache").mkdir()
        (world.root / "cache" / SHA).touch()
        assert world.find().location == archive(FIRST)
        assert world.downloader.probed == []

    @pytest.mark.parametrize("act", ["read_text", "exists"])
    def test_a_host_that_does_not_answer_is_passed_by(self, world: World, act: str) -> None:
        world.publish(archive(FIRST))
        world.publish(archive(SECOND))
        answer = getattr(world.downloader, act)

        def refuse(url: str) -> object:
            if url.startswith(FIRST):
                raise ArtifactError("cannot download: the name storage.googleapis.com is not known")
            return answer(url)

        setattr(world.downloader, act, refuse)
        assert world.find().location == archive(SECOND)
        assert "is not known" in world.notes[0]

    def test_the_image_can_be_the_first(self, world: World) -> None:
        world.publish(archive(FIRST))
        world.publish_image()
        assert isinstance(world.find(artifact_sources=(("envoy", ("image", "url")),)), ImageArtifact)
        assert (world.notes, world.downloader.asked) == ([], [])

    def test_the_image_can_be_left_out(self, world: World) -> None:
        world.publish_image()
        with pytest.raises(ArtifactError, match="envoy for linux/amd64 cannot be had"):
            world.find(artifact_sources=(("envoy", ("file", "url")),))

    def test_a_mirror_stands_in_for_both_hosts(self, world: World) -> None:
        world.publish(archive(FIRST))
        world.publish(archive("https://mirror.example/x"))
        assert world.find(artifact_urls=(("envoy", "https://mirror.example/x/"),)).location == archive("https://mirror.example/x")

    def test_no_secret_is_told(self, world: World) -> None:
        world.publish_image()
        world.find(artifact_urls=(("envoy", "https://user:hunter2@mirror.example/x"),))
        assert "mirror.example" in world.notes[0]
        assert "hunter2" not in world.notes[0]


class TestImages:
    def test_of_a_mirror(self, world: World) -> None:
        digests = world.publish_image("mirror.example/proxyv2:corp")
        found = world.find(platform=ARM64, artifact_images=(("envoy", "mirror.example/proxyv2:corp"),))
        assert found.sha256 == digests[ARM64].hex

    def test_without_the_platform_are_no_source(self, world: World) -> None:
        world.publish_image(platforms=(AMD64,))
        with pytest.raises(ArtifactError, match=f"image {IMAGE} has no linux/arm64"):
            world.find(platform=ARM64)

    def test_that_are_for_another_platform_than_their_index_says_are_none(self, world: World) -> None:
        layout = Layout(world.root / "wrong")
        image = add_image(layout, make_config(AMD64), [BASE_LAYER])
        seed(world.registry, write_image_index(layout.root, {ARM64: image}), ImageReference.parse(IMAGE))
        with pytest.raises(ArtifactError, match=f"image {IMAGE} has no linux/arm64"):
            world.find(platform=ARM64)

    def test_for_one_platform_alone_need_no_index(self, world: World) -> None:
        layout = write_image(world.root / "single", make_config(ARM64), [BASE_LAYER])
        single = seed(world.registry, layout, ImageReference.parse(IMAGE))
        assert world.find(platform=ARM64).sha256 == single.digest.hex

    def test_that_we_may_not_read_are_told(self, world: World) -> None:
        world.registry.fail_on = lambda operation, key: AccessDenied(f"cannot read {key}: HTTP 401", status=401)
        with pytest.raises(ArtifactError, match=f"  cannot read {IMAGE}: HTTP 401"):
            world.find()


class TestWithoutAPublishedChecksum:
    def url(self, platform: Platform = AMD64) -> str:
        return f"{ZTUNNEL}/ztunnel-{'a' * 40}-{platform.architecture}"

    def test_a_sum_beside_it_is_taken_where_there_is_one(self, world: World) -> None:
        world.downloader.files[self.url()] = b"ztunnel"
        world.downloader.files[f"{self.url()}.sha256"] = f"{SHA}  ztunnel".encode()
        assert world.find("ztunnel").sha256 == SHA
        assert (world.notes, self.url() in world.downloader.asked) == ([], False)

    def test_it_is_fetched_and_its_sum_remembered(self, world: World) -> None:
        world.downloader.files[self.url()] = b"ztunnel"
        found = world.find("ztunnel")
        assert (type(found), found.location, found.sha256) == (UrlArtifact, self.url(), Digest.of(b"ztunnel").hex)
        assert (world.root / "cache" / found.sha256).read_bytes() == b"ztunnel"
        assert "no checksum of" in world.notes[0]
        world.downloader.files[self.url()] = b"another one"
        assert world.find("ztunnel") == found
        assert world.downloader.asked.count(self.url()) == 1

    def test_where_it_is_not_there_the_next_place_is_looked_at(self, world: World) -> None:
        second = self.url().replace("storage.googleapis.com", "blob.istio.io")
        world.downloader.files[second] = b"ztunnel"
        assert world.find("ztunnel").location == second
        assert f"{self.url()} is not there" in world.notes[-1]

    def test_one_of_ones_own(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "ztunnel").write_bytes(b"own")
        own = (ArtifactOverride(artifact="ztunnel", platform=ARM64, location=f"{tmp_path}/ztunnel"),)
        assert world.find("ztunnel", ARM64, artifact_overrides=own).sha256 == Digest.of(b"own").hex
        world.downloader.files[self.url().replace(ZTUNNEL, "https://mirror.example")] = b"mirrored"
        found = world.find("ztunnel", artifact_urls=(("ztunnel", "https://mirror.example"),))
        assert found.sha256 == Digest.of(b"mirrored").hex


class TestDebug:
    def test_takes_the_build_with_symbols(self, world: World) -> None:
        world.publish(archive(FIRST))
        world.publish(archive(FIRST, ARM64, "debug"), make_digest("debug").hex)
        found = world.find(platform=ARM64, debug_artifacts=("envoy",))
        assert (found.location, found.sha256) == (archive(FIRST, ARM64, "debug"), make_digest("debug").hex)
        assert found.member == "usr/local/bin/envoy"

    def test_is_not_in_the_published_image_but_may_be_in_ones_own(self, world: World) -> None:
        world.publish_image()
        with pytest.raises(ArtifactError, match=f"{IMAGE} holds no debug build"):
            world.find(debug_artifacts=("envoy",))
        world.publish_image("mirror.example/debug:1")
        found = world.find(debug_artifacts=("envoy",), artifact_images=(("envoy", "mirror.example/debug:1"),))
        assert isinstance(found, ImageArtifact)

    def test_that_there_is_none_of_is_told(self, world: World) -> None:
        with pytest.raises(RequestError, match="there is no debug build of ztunnel"):
            world.find("ztunnel", debug_artifacts=("ztunnel",))


class TestBeside:
    def release(self) -> ReleaseRecipe:
        """As the filters of Envoy were, which are the same for each architecture."""
        release = load_book().release
        wasm = release.artifacts["envoy"].model_copy(
            update={
                "file": dict.fromkeys(("amd64", "arm64"), "stats.wasm"),
                "checksum": dict.fromkeys(("amd64", "arm64"), "stats.wasm.sha256"),
                "member": "",
                "image_path": "/etc/stats.wasm",
                "beside": "envoy",
            }
        )
        return release.model_copy(update={"artifacts": {**release.artifacts, "wasm": wasm}})

    def test_the_settings_of_the_other_hold(self, world: World) -> None:
        world.downloader.files = {"https://m.example/stats.wasm": b"", "https://m.example/stats.wasm.sha256": SHA.encode()}
        urls = (("envoy", "https://m.example"),)
        both = [world.find("wasm", platform, self.release(), artifact_urls=urls) for platform in (AMD64, ARM64)]
        assert {(found.location, found.sha256, found.member) for found in both} == {("https://m.example/stats.wasm", SHA, "")}
        world.publish_image()
        found = world.find("wasm", release=self.release(), artifact_sources=(("envoy", ("image",)),))
        assert (type(found), found.member) == (ImageArtifact, "/etc/stats.wasm")

    def test_no_flag_is_named_that_there_is_not(self, world: World) -> None:
        with pytest.raises(ArtifactError) as raised:
            world.find("wasm", release=self.release())
        assert "--wasm" not in raised.value.hint
        assert "--envoy-url" in raised.value.hint


def test_a_promise_that_is_broken_is_no_reason_to_look_elsewhere(world: World, tmp_path: Path) -> None:
    """What is named by hand is wanted, not wished for."""
    (tmp_path / "envoy").write_bytes(b"own")
    world.publish(archive(FIRST))
    own = ArtifactOverride(artifact="envoy", platform=AMD64, location=f"{tmp_path}/envoy#sha256={'0' * 64}")
    with pytest.raises(ChecksumError):
        world.find(artifact_overrides=(own,))
    with pytest.raises(ArtifactError, match="there is no file"):
        world.find(artifact_overrides=(replace(own, location=f"{tmp_path}/gone"),))
