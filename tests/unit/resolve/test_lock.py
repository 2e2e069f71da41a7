"""A lock binds what was looked up: the plan of it stays the same whatever moves, and what it does not bind is refused."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.cli.plan_view import plan_json
from builder.config.request import ArtifactOverride, GoRequest, Request, SourceRequest
from builder.errors import BuilderError, LockError
from builder.oci.manifest import Manifest, compose_index
from builder.oci.reference import Digest, ImageReference
from builder.plan.lock import Lock, LockedGo, SourceFacts
from builder.plan.planner import make_plan
from builder.plan.selection import select_images
from builder.recipe.book import RecipeBook
from builder.recipe.loader import load_recipes
from builder.resolve.held import LockInUse
from builder.resolve.lock_changes import compare_locks
from builder.resolve.lock_file import LockFile, lock_text
from builder.resolve.lock_record import read_lock, record_lock
from builder.resolve.resolver import resolve, what_is_asked
from tests.fakes.downloader import FakeDownloader
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64, ARM64
from tests.samples.lookups import make_lookups
from tests.samples.plans import RELEASE, change_template, load_book, make_request, make_source, make_state
from tests.unit.resolve.test_packages import FakeArchive
from tests.unit.resolve.test_resolver import BASE_TAG, FIRST, SECOND, SUMS, add_base, envoy

GATEWAY = "agentgateway"


@dataclass
class Site:
    """A world that moves, a request, and the file of the lock."""

    directory: Path
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    downloader: FakeDownloader = field(default_factory=FakeDownloader)
    archive: FakeArchive = field(default_factory=FakeArchive)
    go: LockedGo = field(default_factory=lambda: LockedGo(version="1.26.0", reason="go.mod says 1.26.0"))

    def __post_init__(self) -> None:
        for name in ("base", "distroless", "iptables"):
            self.move_base(name, "first")
        for platform in SUMS:
            self.publish_envoy(f"{FIRST}/{envoy(platform)}", SUMS[platform])

    @property
    def path(self) -> Path:
        return self.directory / "istio-build.lock"

    def move_base(self, name: str, content: str) -> Manifest:
        """Put another image under the tag of a base; those that were there before can still be had by digest."""
        reference = f"docker.io/istio/{name}:{BASE_TAG}"
        platforms = (AMD64, ARM64)
        index = add_base(self.registry, reference, platforms, user=content)
        self.registry.manifests[ImageReference.parse(reference).repository][str(index.digest)] = index
        return index

    def publish_envoy(self, stem: str, sha256: str) -> None:
        self.downloader.files |= {f"{stem}.sha256": sha256.encode(), f"{stem}.tar.gz": b"an archive"}

    def forget_calls(self) -> None:
        self.registry.log.clear()
        self.downloader.asked.clear()
        self.downloader.probed.clear()
        self.archive.asked.clear()

    def look_up(
        self,
        request: Request,
        lock: LockInUse | None = None,
        source: SourceFacts | None = None,
        book: RecipeBook | None = None,
    ) -> Lock:
        lookups = replace(
            make_lookups(self.directory / "cache", self.registry, self.downloader, find_go=lambda: self.go), packages=self.archive
        )
        return resolve(request, book or load_book(), source or make_source(), lookups, lock)

    def record(self, request: Request, lock: Lock, book: RecipeBook | None = None) -> LockFile:
        book = book or load_book()
        lookups = make_lookups(self.directory / "cache", self.registry, self.downloader)
        return record_lock(lock, what_is_asked(request, book, lock.source, lookups), SourceRequest(), book)

    def write(self, request: Request | None = None, book: RecipeBook | None = None) -> LockFile:
        """What `istio-build lock` does for a request."""
        request = request or make_request()
        made = self.record(request, self.look_up(request, book=book), book)
        self.path.write_text(lock_text(made))
        return made

    def obey(self, request: Request | None = None, book: RecipeBook | None = None) -> Lock:
        """What --locked does."""
        return self.look_up(request or make_request(), read_lock(self.path, strict=True), book=book)

    def update(self, *names: str, request: Request | None = None) -> tuple[LockFile, dict[str, str]]:
        """What `lock --update NAMES` does: the lock, and why each change matters."""
        request = request or make_request()
        before = read_lock(self.path, strict=False, renew=frozenset(names))
        made = self.record(request, self.look_up(request, before))
        self.path.write_text(lock_text(made))
        return made, {change.what: change.why for change in compare_locks(before.file, made, select_images(request, load_book()))}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def planned(request: Request, lock: Lock, book: RecipeBook | None = None) -> str:
    return plan_json(make_plan(request, book or load_book(), lock), ())


class TestObeyed:
    def test_its_plan_is_that_of_the_look_up_byte_for_byte(self, site: Site) -> None:
        request = make_request()
        site.write(request)
        assert planned(request, site.obey(request)) == planned(request, site.look_up(request))

    def test_its_plan_stays_whatever_moves(self, site: Site) -> None:
        request = make_request()
        site.write(request)
        before = planned(request, site.look_up(request))
        for name in ("base", "distroless", "iptables"):
            site.move_base(name, "another")
        for platform in SUMS:
            site.publish_envoy(f"{FIRST}/{envoy(platform)}", "e" * 64)
        site.go = LockedGo(version="1.26.1", reason="another")
        assert planned(request, site.look_up(request)) != before
        assert planned(request, site.obey(request)) == before

    def test_nothing_is_asked_for_by_a_tag_or_a_url(self, site: Site) -> None:
        site.write()
        site.forget_calls()
        site.go = LockedGo(version="none may be looked up")
        assert site.obey().go.version == "1.26.0"
        assert [key for operation, key in site.registry.log if "@sha256:" not in key] == []
        assert site.registry.log
        assert (site.downloader.asked, site.downloader.probed) == ([], [])

    def test_another_hub_and_tag_are_no_concern_of_it(self, site: Site) -> None:
        before = site.write(make_request("registry.corp.example/istio"))
        assert site.write(make_request("other.example/x", tags=("1.29.0-corp.1",))) == before
        request = make_request("third.example/y", tags=("7",))
        assert planned(request, site.obey(request)) == planned(request, site.look_up(request))

    def test_less_than_it_binds_is_fine(self, site: Site) -> None:
        site.write()
        request = make_request(images=("pilot",), platforms=(ARM64,))
        assert planned(request, site.obey(request)) == planned(request, site.look_up(request))

    def test_a_copied_image_is_bound_with_all_its_platforms(self, site: Site) -> None:
        reference = f"registry.corp.example/{GATEWAY}:1"
        add_base(site.registry, reference)
        book = load_book()
        request = make_request(images=(GATEWAY,), mirror_sources=((GATEWAY, reference),))
        tags = site.registry.manifests[ImageReference.parse(reference).repository]
        tags["1"] = without_attestation(tags["1"])
        site.write(request, book)
        before = site.look_up(request, book=book)
        site.registry.manifests.clear()
        assert site.obey(request, book) == before

    def test_packages_are_bound_by_sum_in_their_order(self, site: Site) -> None:
        book = load_recipes(build_bases=True).at(RELEASE)
        request = make_request(images=("base",), build_bases=True)
        site.write(request, book)
        before = site.look_up(request, book=book)
        site.archive.version = "2"
        assert site.obey(request, book) == before != site.look_up(request, book=book)

    def test_an_envoy_out_of_an_image_is_bound_to_its_manifest(self, site: Site) -> None:
        add_base(site.registry, "registry.corp.example/proxyv2:7")
        request = make_request(
            artifact_images=(("envoy", "registry.corp.example/proxyv2:7"),), artifact_sources=(("envoy", ("image",)),)
        )
        site.write(request)
        before = site.look_up(request)
        site.registry.manifests.pop(ImageReference.parse("registry.corp.example/proxyv2:7").repository)
        assert site.obey(request) == before

    def test_a_go_out_of_an_image_is_bound_to_its_digest(self, site: Site) -> None:
        image = ImageReference.parse("docker.io/library/golang:1.26").pinned(Digest.of(b"image"))
        site.go = LockedGo(version="1.26.2", reason="an image", image=image)
        request = make_request(go=GoRequest(image="golang:1.26"))
        site.write(request)
        site.go = LockedGo(version="1.26.3")
        assert site.obey(request).go == LockedGo(version="1.26.2", reason="an image", image=image)


def without_attestation(index: Manifest) -> Manifest:
    return compose_index(tuple(child for child in index.children() if child.is_runnable), {})


class TestSecrets:
    def test_no_password_of_a_mirror_is_written_and_the_request_has_it_again(self, site: Site) -> None:
        mirror = "https://me:secret@mirror.example/proxy"
        for platform in SUMS:
            site.publish_envoy(f"{mirror}/{envoy(platform)}", SUMS[platform])
        request = make_request(artifact_urls=(("envoy", mirror),))
        site.write(request)
        assert "secret" not in site.path.read_text()
        assert site.obey(request) == site.look_up(request)
        assert "secret" in site.obey(request).artifact("envoy", AMD64).location
        # Without it, or with that of somebody else, it is the same place.
        assert site.obey(make_request(artifact_urls=(("envoy", "https://mirror.example/proxy"),)))

    def test_no_token_of_a_url_is_written(self, site: Site) -> None:
        urls = {platform: f"https://store.example/{platform.architecture}.tar.gz?token=secret" for platform in SUMS}
        request = make_request(artifact_overrides=overrides({p: f"{url}#sha256={SUMS[p]}" for p, url in urls.items()}))
        site.write(request)
        assert "secret" not in site.path.read_text()
        assert site.obey(request).artifact("envoy", ARM64).location == urls[ARM64]

    def test_no_password_of_a_package_archive_is_written(self, site: Site) -> None:
        book = load_recipes(build_bases=True).at(RELEASE)
        mirrors = (("ubuntu", "http://me:secret@mirror/ubuntu"), ("ubuntu-ports", "http://me:secret@mirror/ports"))
        request = make_request(images=("base",), build_bases=True, apt_mirrors=mirrors)
        site.write(request, book)
        assert "secret" not in site.path.read_text()
        assert site.obey(request, book) == site.look_up(request, book=book)


def overrides(locations: dict[Any, str]) -> tuple[ArtifactOverride, ...]:
    return tuple(ArtifactOverride(artifact="envoy", platform=p, location=location) for p, location in locations.items())


class TestOwnFiles:
    @pytest.fixture
    def request_with_files(self, tmp_path: Path) -> Request:
        for platform in SUMS:
            (tmp_path / platform.slug).write_text(f"my envoy for {platform}")
        return make_request(artifact_overrides=overrides({p: str(tmp_path / p.slug) for p in SUMS}))

    def test_their_sum_is_bound_and_not_their_place(self, site: Site, request_with_files: Request, tmp_path: Path) -> None:
        site.write(request_with_files)
        assert str(tmp_path) not in site.path.read_text()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes((tmp_path / ARM64.slug).read_bytes())
        moved = replace(
            request_with_files, artifact_overrides=overrides({AMD64: str(tmp_path / AMD64.slug), ARM64: str(elsewhere)})
        )
        assert site.obey(moved).artifact("envoy", ARM64).location == str(elsewhere)

    def test_another_file_is_refused(self, site: Site, request_with_files: Request, tmp_path: Path) -> None:
        site.write(request_with_files)
        (tmp_path / ARM64.slug).write_text("another")
        with pytest.raises(LockError, match=r"artifacts\.envoy\.linux/arm64\.sha256: the lock has a file with"):
            site.obey(request_with_files)


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "key", "name"),
        [
            ({"bases": (("iptables", "docker.io/me/iptables:1"),)}, "bases.iptables.asked", "iptables"),
            ({"base_registry": "mirror.example/istio"}, "bases.base.asked", "base"),
            ({"go": GoRequest(version="1.26.5")}, "go.asked", "go"),
            ({"go": GoRequest(image="golang:1.26")}, "go.asked", "go"),
            ({"artifact_urls": (("envoy", SECOND),)}, "artifacts.envoy.linux/amd64.asked", "envoy"),
            ({"artifact_sources": (("envoy", ("image",)),)}, "artifacts.envoy.linux/amd64.asked", "envoy"),
            ({"debug_artifacts": ("envoy",)}, "artifacts.envoy.linux/amd64.asked", "envoy"),
            ({"artifact_overrides": overrides({ARM64: "/my/envoy"})}, "artifacts.envoy.linux/arm64.asked", "envoy"),
            ({"images": (GATEWAY,), "mirror_sources": ((GATEWAY, "r.example/gateway:1"),)}, f"mirrors.{GATEWAY}", GATEWAY),
            ({"images": ("ztunnel",)}, "artifacts.ztunnel.linux/amd64", "ztunnel"),
        ],
    )
    def test_what_contradicts_it(self, site: Site, changes: dict[str, Any], key: str, name: str) -> None:
        site.write()
        with pytest.raises(LockError) as raised:
            site.obey(make_request(**changes))
        where, _, told = raised.value.message.partition(f": {key}: the lock ")
        assert told
        line = int(where.removeprefix(f"{site.path}:"))
        # The line is that of the key, or of the nearest around it, which may be the whole file.
        assert line == 2 or site.path.read_text().splitlines()[line - 1].strip().partition(":")[0] in key.split(".")
        assert f"`istio-build lock --update {name}`" in raised.value.hint

    def test_a_platform_that_it_lacks(self, site: Site) -> None:
        site.write(make_request(platforms=(AMD64,)))
        with pytest.raises(LockError, match=r"bases\.base: the lock lacks linux/arm64; it has linux/amd64"):
            site.obey(make_request(images=("pilot",)))

    def test_there_is_none(self, site: Site) -> None:
        with pytest.raises(LockError, match=r"there is no .*istio-build\.lock") as raised:
            site.obey()
        assert "`istio-build lock`" in raised.value.hint

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("version: 1\n", "version: 2\n", r":2: the lock is of version 2, and istio-build .* reads version 1"),
            ("version: 1\n", "", "the lock is of version None"),
            ("bases:\n", "bases: 7\nxases:\n", r":\d+: bases: Input should be a valid"),
            ("  base:\n", "  base:\n    digset: x\n", r":\d+: unknown key 'bases.base.digset'; did you mean 'digest'"),
            ("digest: sha256:", "digest: sha256:x", r":\d+: bases.base.digest: String should match pattern"),
            ("linux/arm64", "linux/arm", r":\d+: "),
            ("bases:", "bases: [", "not valid YAML"),
        ],
    )
    def test_a_damaged_one(self, site: Site, old: str, new: str, told: str) -> None:
        site.write()
        site.path.write_text(site.path.read_text().replace(old, new, 1))
        with pytest.raises(LockError, match=told):
            site.obey()

    def test_one_that_is_huge_is_not_read(self, site: Site) -> None:
        site.path.write_text("version: 1\n" + "#" * (2 << 20))
        with pytest.raises(LockError):
            site.obey()

    @pytest.mark.parametrize(
        ("old", "new"), [("found: ", "found: /"), ("sha256: ", "sha256: 0")], ids=["no reference", "not the sum of the digest"]
    )
    def test_an_image_that_is_none(self, site: Site, old: str, new: str) -> None:
        add_base(site.registry, "registry.corp.example/proxyv2:7")
        request = make_request(
            artifact_images=(("envoy", "registry.corp.example/proxyv2:7"),), artifact_sources=(("envoy", ("image",)),)
        )
        site.write(request)
        text = site.path.read_text()
        if old == "sha256: ":
            sha256 = text.partition(old)[2][:64]
            site.path.write_text(text.replace(f"{old}{sha256}", f"{old}{'0' * 64}"))
        else:
            site.path.write_text(text.replace(old, new))
        with pytest.raises(LockError, match=r"artifacts\.envoy\.linux/amd64"):
            site.obey(request)

    def test_other_recipes(self, site: Site) -> None:
        site.write()
        lock = read_lock(site.path, strict=True)
        lock.check_recipes(load_book(), lambda note: pytest.fail(note))
        with pytest.raises(LockError, match="the lock was made with other recipes or templates"):
            lock.check_recipes(change_template(load_book(), "pilot.Dockerfile.j2", "# more"), lambda note: None)

    def test_another_istio_build_with_the_same_recipes_is_told(self, site: Site) -> None:
        site.write()
        lock = read_lock(site.path, strict=True)
        notes: list[str] = []
        older = replace(lock, file=lock.file.model_copy(update={"istio_build": "0.0.9"}))
        older.check_recipes(load_book(), notes.append)
        assert "written by istio-build 0.0.9" in notes[0]


class TestSource:
    @pytest.fixture
    def lock(self, site: Site) -> LockInUse:
        site.write()
        return read_lock(site.path, strict=True)

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"commit": "b" * 40}, r"source\.commit: the lock has 0123456789abcdef"),
            ({"content": "b" * 40}, r"source\.tree: the lock has 89abcdef.*git ignores"),
            ({"dirty": True}, "has changes that are not committed"),
        ],
    )
    def test_another_is_refused(self, lock: LockInUse, changes: dict[str, Any], told: str) -> None:
        with pytest.raises(LockError, match=told):
            lock.bind_source(make_source(make_state(**changes)), Path("/tree"))

    def test_a_later_tag_changes_nothing(self, lock: LockInUse) -> None:
        later = make_source(make_state(tag="1.29.7", description="1.29.7"))
        assert lock.bind_source(later, Path("/tree")) == make_source()


class TestRenewed:
    def test_only_what_is_named_and_it_says_why_it_matters(self, site: Site) -> None:
        before = site.write()
        for name in ("base", "distroless", "iptables"):
            site.move_base(name, "another")
        site.go = LockedGo(version="1.26.1", reason="go.mod says so")
        after, why = site.update("iptables")
        assert why == {"base iptables": "proxyv2 (distroless) is built anew"}
        assert (after.bases["base"], after.go) == (before.bases["base"], before.go)
        assert after.bases["iptables"].digest != before.bases["iptables"].digest

    def test_the_go(self, site: Site) -> None:
        site.write()
        site.go = LockedGo(version="1.26.1", reason="go.mod says 1.26.1")
        _, why = site.update("go")
        assert why == {"Go": "everything is compiled anew"}

    def test_a_file_that_was_replaced_under_its_name(self, site: Site) -> None:
        site.write()
        site.publish_envoy(f"{FIRST}/{envoy(ARM64)}", "e" * 64)
        _, why = site.update("envoy")
        assert set(why) == {"artifact envoy linux/arm64"}
        assert "the sum is another although the URL is the same" in why["artifact envoy linux/arm64"]
        assert "proxyv2" in why["artifact envoy linux/arm64"]

    def test_nothing_where_nothing_moved(self, site: Site) -> None:
        before = site.write()
        assert site.update("base", "distroless", "iptables", "envoy", "go", "source") == (before, {})

    def test_without_a_name_what_is_asked_for_otherwise_and_what_is_missing(self, site: Site) -> None:
        site.write(make_request(images=("pilot",)))
        for name in ("base", "distroless", "iptables"):
            site.move_base(name, "another")
        add_base(site.registry, "registry.corp.example/mine:7")
        request = make_request(bases=(("distroless", "registry.corp.example/mine:7"),))
        _, why = site.update(request=request)
        assert set(why) == {
            "base distroless",
            "base iptables",
            "artifact envoy linux/amd64",
            "artifact envoy linux/arm64",
        }
        assert "registry.corp.example/mine:7 is now" in why["base distroless"]
        assert why["base iptables"] == "it is bound now"

    def test_another_platform_comes_out_of_the_index_that_is_bound(self, site: Site) -> None:
        before = site.write(make_request(images=("pilot",), platforms=(AMD64,)))
        site.move_base("base", "another")
        after, why = site.update(request=make_request(images=("pilot",)))
        assert after.bases["base"].digest == before.bases["base"].digest
        assert why["base base"] == "linux/arm64 is bound, too"

    def test_what_is_no_longer_asked_for_is_dropped(self, site: Site) -> None:
        site.write()
        after, why = site.update(request=make_request(images=("pilot",)))
        assert "envoy" not in after.artifacts
        assert why["artifact envoy linux/amd64"] == "nothing that is asked for needs it"

    def test_packages_are_told_by_name(self, site: Site) -> None:
        book = load_recipes(build_bases=True).at(RELEASE)
        request = make_request(images=("base",), build_bases=True)
        before = site.write(request, book)
        site.archive.version = "2"
        after = site.write(request, book)
        changes = compare_locks(before, after, select_images(request, book))
        assert {change.why for change in changes} == {"base is built anew: a.deb in place of 0"}


digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
sums = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
commits = st.from_regex(r"[0-9a-f]{40}", fullmatch=True)
# What may stand in a reference, a reason, the name of a tag: anything that can be written at all.
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Co")), max_size=30)
platforms = st.sampled_from(("linux/amd64", "linux/arm64"))
words = st.tuples(texts)


locks = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "istio_build": texts,
        "recipes": digests,
        "source": st.fixed_dictionaries(
            {
                **dict.fromkeys(("url", "release", "version", "tag", "description"), texts),
                "commit": commits,
                "tree": commits,
                "committed_at": st.integers(0, 1 << 40),
            }
        ),
        "patches": st.lists(st.fixed_dictionaries({"name": texts, "sha256": sums}), max_size=3),
        "go": st.none() | st.fixed_dictionaries(dict.fromkeys(("asked", "version", "reason", "image"), texts)),
        "bases": st.dictionaries(
            texts,
            st.fixed_dictionaries({"asked": texts, "digest": digests, "platforms": st.dictionaries(platforms, digests)}),
            max_size=3,
        ),
        "artifacts": st.dictionaries(
            texts,
            st.dictionaries(
                platforms,
                st.fixed_dictionaries(
                    {
                        "asked": words,
                        "kind": st.sampled_from(("file", "url", "image")),
                        "found": texts,
                        "sha256": sums,
                        "member": texts,
                    }
                ),
            ),
            max_size=3,
        ),
        "packages": st.dictionaries(
            texts,
            st.dictionaries(
                platforms,
                st.fixed_dictionaries(
                    {
                        "asked": words,
                        "sources": words,
                        "packages": st.dictionaries(texts, st.fixed_dictionaries({"url": texts, "sha256": sums}), max_size=3),
                    }
                ),
            ),
            max_size=2,
        ),
    }
).map(LockFile.model_validate)


# A machine may be at other work, and a lock of many parts takes a while to make up.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(lock=locks)
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, lock: LockFile) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.lock"
    path.write_text(lock_text(lock), encoding="utf-8")
    found = read_lock(path, strict=True).file
    assert found == lock
    assert lock_text(found) == lock_text(lock)


@settings(deadline=None)
@given(content=st.binary(max_size=200))
def test_what_is_no_lock_is_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "no.lock"
    path.write_bytes(b"version: 1\n" + content)
    with pytest.raises(BuilderError):
        read_lock(path, strict=True)
