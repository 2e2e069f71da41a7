"""What is looked up for a request, nothing more than that, and what is said where it cannot be had."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from builder.config.request import ArtifactOverride, Request
from builder.errors import ArtifactError, BaseImageError, ChecksumError, RequestError, SourceError, ToolchainError
from builder.oci.manifest import CONFIG, DOCKER_MANIFEST, MANIFEST, Descriptor, Manifest, compose_index
from builder.oci.reference import Digest, ImageReference, Platform
from builder.plan.lock import Lock, LockedGo
from builder.recipe.book import RecipeBook
from builder.resolve.resolver import resolve
from builder.resolve.source import list_directory
from builder.runtime.tree_links import find_file
from tests import ROOT
from tests.fakes.downloader import FakeDownloader
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64, ARM64, config_json, make_config, make_digest
from tests.samples.lookups import make_lookups
from tests.samples.plans import PROXY_SHA, change_image, load_book, make_request, make_source

BASE_TAG = "1.29-2026-02-01T19-01-00"
FIRST = "https://storage.googleapis.com/istio-build/proxy"
SECOND = "https://blob.istio.io/istio-build/proxy"
SUMS = {platform: make_digest(f"envoy {platform}").hex for platform in (AMD64, ARM64)}


def envoy(platform: Platform) -> str:
    return f"envoy-alpha-{PROXY_SHA}{'' if platform == AMD64 else '-arm64'}"


def add_base(
    registry: FakeRegistry, reference: str, platforms: tuple[Platform, ...] = (AMD64, ARM64), user: str = ""
) -> Manifest:
    """Put a base image there, with an attestation listed beside its platforms as BuildKit does; it differs by its `user`."""
    found = ImageReference.parse(reference)
    children = []
    for platform in platforms:
        content = config_json(make_config(platform, user=user), [])
        config = Descriptor(media_type=CONFIG, digest=Digest.of(content), size=len(content))
        registry.blobs[found.repository][config.digest] = content
        manifest = Manifest(media_type=MANIFEST, content=json.dumps({"config": config.to_json(), "layers": []}).encode())
        registry.manifests[found.repository][str(manifest.digest)] = manifest
        children.append(Descriptor(media_type=MANIFEST, digest=manifest.digest, size=len(manifest.content), platform=platform))
    attestation = Descriptor(media_type=MANIFEST, digest=make_digest("a"), size=1, platform=Platform("unknown", "unknown"))
    index = compose_index((*children, attestation), {})
    registry.manifests[found.repository][found.key] = index
    return index


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    for name in ("base", "distroless", "iptables"):
        add_base(registry, f"docker.io/istio/{name}:{BASE_TAG}")
    return registry


@pytest.fixture
def downloader() -> FakeDownloader:
    # As Istio's own: the sum, and a path on the builder's machine behind it.
    sums = {f"{FIRST}/{envoy(platform)}.sha256": f"{text}  /home/builder/envoy.tar.gz\n" for platform, text in SUMS.items()}
    archives = {url.replace(".sha256", ".tar.gz"): "an archive" for url in sums}
    return FakeDownloader({url: text.encode() for url, text in (sums | archives).items()})


@pytest.fixture
def notes() -> list[str]:
    """What people were told."""
    return []


@pytest.fixture
def look_up(registry: FakeRegistry, downloader: FakeDownloader, notes: list[str], tmp_path: Path) -> Callable[..., Lock]:
    """Resolves a request for all images, or for what the test asks for."""

    def run(request: Request | None = None, book: RecipeBook | None = None, go: Callable[[], str] = lambda: "1.26.0") -> Lock:
        lookups = make_lookups(
            tmp_path / "cache",
            registry,
            downloader,
            notes.append,
            lambda: LockedGo(version=go(), reason="go.mod says so"),
        )
        return resolve(request or make_request(), book or load_book(), make_source(), lookups)

    return run


class TestBases:
    def test_are_bound_to_digests_for_each_platform(self, look_up: Callable[..., Lock], registry: FakeRegistry) -> None:
        lock = look_up()
        assert [base.name for base in lock.bases] == ["base", "distroless", "iptables"]
        base = lock.base("base")
        repository = ImageReference.parse("docker.io/istio/base").repository
        index = registry.manifests[repository][BASE_TAG]
        assert str(base.reference) == f"docker.io/istio/base:{BASE_TAG}@{index.digest}"
        assert {entry.platform: entry.manifest for entry in base.platforms} == {
            child.platform: child.digest for child in index.children() if child.platform in (AMD64, ARM64)
        }
        assert base.on(ARM64).config.platform == ARM64

    def test_that_no_image_needs_are_not_asked_for(self, look_up: Callable[..., Lock], registry: FakeRegistry) -> None:
        lock = look_up(make_request(images=("pilot",), variants=("distroless",)))
        assert [base.name for base in lock.bases] == ["distroless"]
        assert {key.partition("@")[0].partition(":")[0] for key in registry.operations("get_manifest")} == {
            "docker.io/istio/distroless"
        }

    def test_of_another_registry(self, look_up: Callable[..., Lock], registry: FakeRegistry) -> None:
        add_base(registry, f"mirror.corp.example/istio/distroless:{BASE_TAG}")
        request = make_request(images=("pilot",), variants=("distroless",), base_registry="mirror.corp.example/istio")
        assert str(look_up(request).base("distroless").reference.repository) == "mirror.corp.example/istio/distroless"

    def test_of_ones_own(self, look_up: Callable[..., Lock], registry: FakeRegistry) -> None:
        add_base(registry, "registry.corp.example/mine:7")
        request = make_request(images=("pilot",), bases=(("base", "registry.corp.example/mine:7"),))
        lock = look_up(request)
        assert lock.base("base").reference.tag == "7"
        assert str(lock.base("distroless").reference.repository) == "docker.io/istio/distroless"

    def test_of_ones_own_under_a_name_that_there_is_not_is_refused(self, look_up: Callable[..., Lock]) -> None:
        with pytest.raises(RequestError, match="there is no base 'bse'") as raised:
            look_up(make_request(bases=(("bse", "registry.corp.example/mine:7"),)))
        assert raised.value.hint == "Known bases: base, distroless, iptables."

    def test_that_do_not_exist_are_told_with_the_ways_out(self, look_up: Callable[..., Lock]) -> None:
        with pytest.raises(
            BaseImageError, match=rf"base image mirror\.example/base:{BASE_TAG} \(base\) does not exist"
        ) as raised:
            look_up(make_request(base_registry="mirror.example"))
        assert "--base base=" in raised.value.hint
        assert "--base-registry" in raised.value.hint
        assert "`istio-build push --image bases`" in raised.value.hint

    def test_without_a_platform_say_which_they_have(self, look_up: Callable[..., Lock], registry: FakeRegistry) -> None:
        add_base(registry, f"docker.io/istio/base:{BASE_TAG}", (AMD64,))
        with pytest.raises(BaseImageError, match=r"has no linux/arm64; it has linux/amd64$") as raised:
            look_up()
        assert "--platform" in raised.value.hint

    def test_without_a_platform_that_nobody_asked_for_are_taken(
        self, look_up: Callable[..., Lock], registry: FakeRegistry
    ) -> None:
        for name in ("base", "distroless"):
            add_base(registry, f"docker.io/istio/{name}:{BASE_TAG}", (AMD64,))
        lock = look_up(make_request(images=("pilot",), platforms=(AMD64,)))
        assert [entry.platform for entry in lock.base("base").platforms] == [AMD64]

    def test_with_nothing_but_attestations_have_no_platform_at_all(
        self, look_up: Callable[..., Lock], registry: FakeRegistry
    ) -> None:
        add_base(registry, f"docker.io/istio/base:{BASE_TAG}", ())
        with pytest.raises(BaseImageError, match="it has no platform at all"):
            look_up()

    def test_that_are_half_there_say_so(self, look_up: Callable[..., Lock], registry: FakeRegistry) -> None:
        reference = ImageReference.parse(f"docker.io/istio/base:{BASE_TAG}")
        index = registry.manifests[reference.repository][BASE_TAG]
        child = next(child for child in index.children() if child.platform == ARM64)
        del registry.manifests[reference.repository][str(child.digest)]
        with pytest.raises(BaseImageError, match=f"lists linux/arm64, but its manifest {child.digest} is missing"):
            look_up()

    def test_with_one_platform_need_no_index(self, look_up: Callable[..., Lock], registry: FakeRegistry) -> None:
        repository = ImageReference.parse("registry.corp.example/single").repository
        content = config_json(make_config(ARM64), [])
        config = Descriptor(media_type=CONFIG, digest=Digest.of(content), size=len(content))
        registry.blobs[repository][config.digest] = content
        single = Manifest(media_type=DOCKER_MANIFEST, content=json.dumps({"config": config.to_json()}).encode())
        registry.manifests[repository]["1"] = single
        bases = (("base", "registry.corp.example/single:1"),)
        lock = look_up(make_request(images=("pilot",), variants=("debug",), platforms=(ARM64,), bases=bases))
        assert (lock.base("base").digest, lock.base("base").on(ARM64).manifest) == (single.digest, single.digest)
        with pytest.raises(BaseImageError, match="has no linux/amd64; it has linux/arm64"):
            look_up(make_request(images=("pilot",), variants=("debug",), bases=bases))


class TestArtifacts:
    def test_are_bound_to_the_sum_that_is_published(self, look_up: Callable[..., Lock], downloader: FakeDownloader) -> None:
        lock = look_up()
        assert {artifact.platform: artifact.sha256 for artifact in lock.artifacts} == SUMS
        assert lock.artifact("envoy", ARM64).location == f"{FIRST}/{envoy(ARM64)}.tar.gz"
        assert lock.artifact("envoy", ARM64).member == "usr/local/bin/envoy"
        # The sums alone were read: nothing has been downloaded yet.
        assert all(url.endswith(".sha256") for url in downloader.asked)

    def test_that_no_image_needs_are_not_asked_for(self, look_up: Callable[..., Lock], downloader: FakeDownloader) -> None:
        assert look_up(make_request(images=("pilot", "istioctl"))).artifacts == ()
        assert downloader.asked == []

    def test_for_a_platform_that_nobody_asked_for_are_not_either(
        self, look_up: Callable[..., Lock], downloader: FakeDownloader
    ) -> None:
        look_up(make_request(platforms=(ARM64,)))
        assert downloader.asked == [f"{FIRST}/{envoy(ARM64)}.sha256"]

    def test_are_looked_for_at_the_next_place_where_the_first_has_none(
        self, look_up: Callable[..., Lock], downloader: FakeDownloader
    ) -> None:
        downloader.files = {url.replace(FIRST, SECOND): text for url, text in downloader.files.items()}
        assert look_up().artifact("envoy", AMD64).location == f"{SECOND}/{envoy(AMD64)}.tar.gz"

    def test_of_a_mirror_are_looked_for_nowhere_else(self, look_up: Callable[..., Lock], downloader: FakeDownloader) -> None:
        request = make_request(
            artifact_urls=(("envoy", "https://user:hunter2@mirror.example/proxy/"),), artifact_sources=(("envoy", ("url",)),)
        )
        with pytest.raises(
            ArtifactError, match=r"envoy for linux/amd64 cannot be had:\n  https://mirror\.example/proxy/"
        ) as raised:
            look_up(request)
        assert all(url.startswith("https://user:hunter2@mirror.example/proxy/envoy-alpha-") for url in downloader.asked)
        assert "hunter2" not in raised.value.message + raised.value.hint

    def test_that_are_nowhere_name_every_place_and_the_ways_out(
        self, look_up: Callable[..., Lock], downloader: FakeDownloader
    ) -> None:
        downloader.files.clear()
        with pytest.raises(ArtifactError) as raised:
            look_up()
        assert raised.value.message.splitlines()[1:] == [
            f"  {FIRST}/{envoy(AMD64)}.sha256 is not there",
            f"  {SECOND}/{envoy(AMD64)}.sha256 is not there",
            "  image docker.io/istio/proxyv2:1.29.0 does not exist",
        ]
        assert "--envoy-url" in raised.value.hint
        assert "--envoy linux/amd64=" in raised.value.hint

    @pytest.mark.parametrize("text", ["", "\n", "<html>", "0123  envoy", f"{'g' * 64}", f"{'a' * 65}"])
    def test_with_something_else_for_a_sum_are_refused(
        self, look_up: Callable[..., Lock], downloader: FakeDownloader, text: str
    ) -> None:
        downloader.files[f"{FIRST}/{envoy(ARM64)}.sha256"] = text.encode()
        with pytest.raises(ArtifactError, match=r"-arm64\.sha256 does not hold a sha256 checksum"):
            look_up()

    @pytest.mark.parametrize("files", [{"amd64": "envoy.tar.gz"}, {"amd64": "envoy.tar.gz", "arm64": None}])
    def test_that_nobody_publishes_for_a_platform_name_the_ways_out(
        self, look_up: Callable[..., Lock], files: dict[str, str | None]
    ) -> None:
        book = load_book()
        artifact = book.release.artifacts["envoy"].model_copy(update={"file": files})
        release = book.release.model_copy(update={"artifacts": {"envoy": artifact}})
        one_sided = replace(book, release=release)
        with pytest.raises(ArtifactError, match="nobody publishes envoy for linux/arm64 in this release") as raised:
            look_up(make_request(platforms=(ARM64,)), one_sided)
        for way in ("--envoy linux/arm64=PATH-or-URL", "--envoy-image an image that has linux/arm64", "--platform linux/amd64"):
            assert way in raised.value.hint


class TestArtifactsOfOnesOwn:
    def own(self, location: str) -> Request:
        override = ArtifactOverride(artifact="envoy", platform=ARM64, location=location)
        return make_request(images=("proxyv2",), artifact_overrides=(override,))

    def test_a_file_is_summed(self, look_up: Callable[..., Lock], tmp_path: Path) -> None:
        (tmp_path / "envoy").write_bytes(b"envoy")
        artifact = look_up(self.own(f"{tmp_path}/envoy")).artifact("envoy", ARM64)
        assert artifact.sha256 == hashlib.sha256(b"envoy").hexdigest()
        assert (artifact.location, artifact.member) == (f"{tmp_path}/envoy", "")

    def test_the_other_platform_is_looked_up_as_ever(self, look_up: Callable[..., Lock], tmp_path: Path) -> None:
        (tmp_path / "envoy").touch()
        assert look_up(self.own(f"{tmp_path}/envoy")).artifact("envoy", AMD64).sha256 == SUMS[AMD64]

    @pytest.mark.parametrize("name", ["envoy.tar.gz", "envoy.tgz"])
    def test_an_archive_is_one_that_the_program_is_taken_from(
        self, look_up: Callable[..., Lock], tmp_path: Path, name: str
    ) -> None:
        (tmp_path / name).touch()
        assert look_up(self.own(f"{tmp_path}/{name}")).artifact("envoy", ARM64).member == "usr/local/bin/envoy"

    def test_a_file_that_is_not_there_is_told(self, look_up: Callable[..., Lock], tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match=r"envoy for linux/arm64: there is no file .*/gone"):
            look_up(self.own(f"{tmp_path}/gone"))

    def test_a_file_with_another_sum_than_promised_is_refused(self, look_up: Callable[..., Lock], tmp_path: Path) -> None:
        (tmp_path / "envoy").write_bytes(b"envoy")
        right = hashlib.sha256(b"envoy").hexdigest()
        assert look_up(self.own(f"{tmp_path}/envoy#sha256={right.upper()}")).artifact("envoy", ARM64).sha256 == right
        with pytest.raises(ChecksumError, match=f"its sha256 is {right}, not {'0' * 64}"):
            look_up(self.own(f"{tmp_path}/envoy#sha256={'0' * 64}"))

    @pytest.mark.parametrize("promised", ["", "0", "0" * 63, "../../../etc/passwd"])
    def test_a_promise_that_is_no_sum_is_refused(self, look_up: Callable[..., Lock], promised: str) -> None:
        with pytest.raises(RequestError, match="is no sha256"):
            look_up(self.own(f"https://mirror.example/envoy#sha256={promised}"))

    def test_a_url_may_say_its_sum(self, look_up: Callable[..., Lock], downloader: FakeDownloader) -> None:
        artifact = look_up(self.own(f"https://mirror.example/envoy#sha256={'AB' * 32}")).artifact("envoy", ARM64)
        assert (artifact.location, artifact.sha256, artifact.member) == ("https://mirror.example/envoy", "ab" * 32, "")
        assert not any("mirror" in url for url in downloader.asked)

    @pytest.mark.parametrize(
        ("location", "sum_url", "member"),
        [
            ("https://m.example/envoy", "https://m.example/envoy.sha256", ""),
            ("https://m.example/e.tar.gz", "https://m.example/e.tar.gz.sha256", "usr/local/bin/envoy"),
            ("https://m.example/e.tar.gz", "https://m.example/e.sha256", "usr/local/bin/envoy"),
            ("https://m.example/e.tar.gz?sig=1", "https://m.example/e.tar.gz.sha256?sig=1", "usr/local/bin/envoy"),
            ("https://m.example/e.tgz?sig=1", "https://m.example/e.sha256?sig=1", "usr/local/bin/envoy"),
        ],
    )
    def test_a_url_may_have_its_sum_beside_it(
        self, look_up: Callable[..., Lock], downloader: FakeDownloader, location: str, sum_url: str, member: str
    ) -> None:
        downloader.files[sum_url] = f"{'a' * 64}  envoy".encode()
        artifact = look_up(self.own(location)).artifact("envoy", ARM64)
        assert (artifact.location, artifact.sha256, artifact.member) == (location, "a" * 64, member)

    def test_a_url_without_any_sum_says_how_to_give_one(self, look_up: Callable[..., Lock]) -> None:
        with pytest.raises(ArtifactError, match=r"no checksum is published beside https://m\.example/envoy$") as raised:
            look_up(self.own("https://u:hunter2@m.example/envoy?sig=hunter2"))
        assert "--envoy 'linux/arm64=https://m.example/envoy#sha256=" in raised.value.hint
        assert "hunter2" not in raised.value.hint


class TestGo:
    def test_is_asked_for_its_version(self, look_up: Callable[..., Lock]) -> None:
        assert look_up(go=lambda: "1.26.3").go.version == "1.26.3"

    def test_is_not_looked_for_where_nothing_is_compiled(self, look_up: Callable[..., Lock]) -> None:
        book = change_image(load_book(), "pilot", binaries=())
        lock = look_up(make_request(images=("pilot",)), book, lambda: pytest.fail("asked for Go"))
        assert lock.go.version == ""

    def test_that_is_missing_is_an_error_of_the_toolchain(self, look_up: Callable[..., Lock]) -> None:
        def missing() -> str:
            raise ToolchainError("there is no Go compiler on this machine")

        with pytest.raises(ToolchainError):
            look_up(go=missing)


HOLDS_FILES = """\
image: own
template: istioctl.Dockerfile.j2
files:
  - source: a/there
    path: /there
  - source: a/gone
    path: /gone
directories:
  - source: charts
    path: /charts
variants:
  debug: { base: base }
istio: 1.12+
"""


class TestTheTree:
    def resolve(self, tree: Path, registry: FakeRegistry, downloader: FakeDownloader, *images: str) -> Lock:
        """Resolve with a tree that is there, of which an image of one's own holds two files and a directory."""
        (tree / "own").mkdir()
        (tree / "own" / "own.yaml").write_text(HOLDS_FILES)
        (tree / "a").mkdir()
        (tree / "a" / "there").touch()
        lookups = make_lookups(tree / "cache", registry, downloader, check_file=partial(find_file, tree))
        lookups = replace(lookups, list_directory=partial(list_directory, tree))
        return resolve(make_request(images=images), load_book(tree / "own"), make_source(), lookups)

    def test_that_lacks_what_images_need_is_told_at_once_and_in_one_message(
        self, tmp_path: Path, registry: FakeRegistry, downloader: FakeDownloader
    ) -> None:
        with pytest.raises(SourceError) as raised:
            self.resolve(tmp_path, registry, downloader, "own", "proxyv2")
        bootstrap = f"{tmp_path}/tools/packaging/common/envoy_bootstrap.json"
        assert raised.value.message.splitlines() == [
            "the source does not have all that images need:",
            f"  the source lacks {tmp_path}/a/gone, which an image needs: own ({tmp_path}/own/own.yaml:6)",
            f"  {tmp_path}/charts is not there, or empty, and an image needs it: own ({tmp_path}/own/own.yaml:9)",
            f"  the source lacks {bootstrap}, which an image needs: proxyv2 ({ROOT}/recipes/proxyv2.yaml:10)",
        ]
        assert "leave the image out with --image" in raised.value.hint
        assert (downloader.asked, registry.operations("get_manifest")) == ([], [])

    def test_that_lacks_a_single_file_is_told_in_a_line(
        self, tmp_path: Path, registry: FakeRegistry, downloader: FakeDownloader
    ) -> None:
        with pytest.raises(SourceError, match=r"^the source lacks .*/envoy_bootstrap\.json, .*: proxyv2 \(.*\)$"):
            self.resolve(tmp_path, registry, downloader, "proxyv2")

    def test_need_not_have_what_only_images_hold_that_are_not_chosen(
        self, tmp_path: Path, registry: FakeRegistry, downloader: FakeDownloader
    ) -> None:
        assert self.resolve(tmp_path, registry, downloader, "pilot", "istioctl").source == make_source()


def test_equal_worlds_give_equal_locks(look_up: Callable[..., Lock]) -> None:
    assert look_up() == look_up()
    assert look_up().source == make_source()
