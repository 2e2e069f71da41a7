"""Packages of base images: where they are looked for, and what the lock and the plan keep of it."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from builder.errors import RequestError
from builder.plan.lock import LockedPackages
from builder.plan.model import ImagePlan
from builder.plan.planner import make_plan
from builder.ports import FoundPackage, PackageSources, PackageWishes
from builder.recipe.loader import load_recipes
from builder.recipe.schema import RootfsImage
from builder.resolve.packages import resolve_packages
from tests.samples.images import AMD64, ARM64
from tests.samples.plans import RELEASE, image_of, make_lock, make_request, make_source, make_state

BOOK = load_recipes(build_bases=True).at(RELEASE)
PLATFORMS = (AMD64, ARM64)


@dataclass
class FakeArchive:
    """A `ports.PackageFinder` with one package in it."""

    version: str = "1"
    asked: list[tuple[PackageSources, PackageWishes]] = field(default_factory=list)

    def find(self, sources: PackageSources, wishes: PackageWishes) -> tuple[FoundPackage, ...]:
        self.asked.append((sources, wishes))
        url = sources.lines[0].split()[1]
        return (FoundPackage(url=f"{url}/pool/a.deb", file="a.deb", sha256=self.version * 64),)


def resolve(archive: FakeArchive, **changes: Any) -> tuple[LockedPackages, ...]:  # noqa: ANN401 - fields of the request
    request = make_request(images=("base",), **changes)
    recipe = BOOK.image("base")
    assert isinstance(recipe, RootfsImage)
    return tuple(resolve_packages(recipe, platform, request, BOOK, archive) for platform in PLATFORMS)


def plan(archive: FakeArchive, commit: str = "", **changes: Any) -> ImagePlan:  # noqa: ANN401 - fields of the request
    source = make_source(make_state(commit=commit, committed_at=1)) if commit else None
    lock = make_lock(source, packages=resolve(archive, **changes))
    return image_of(make_plan(make_request(images=("base",), **changes), BOOK, lock), "base")


def test_ubuntus_arm64_packages_are_in_another_archive() -> None:
    archive = FakeArchive()
    resolve(archive)
    amd64, arm64 = (sources for sources, _ in archive.asked)
    assert amd64.lines[0] == "deb http://archive.ubuntu.com/ubuntu noble main universe"
    assert arm64.lines[2] == "deb http://ports.ubuntu.com/ubuntu-ports noble-security main universe"


def test_a_distribution_of_ones_own_choice_may_name_packages_of_its_own() -> None:
    archive = FakeArchive()
    mirrors = (("debian", "http://me:secret@mirror/debian"), ("debian-security", "http://mirror/security"))
    locked, _ = resolve(archive, base_distribution="debian:trixie", apt_mirrors=mirrors)
    assert locked.sources[0] == "deb http://mirror/debian trixie main"
    sources, wishes = archive.asked[0]
    assert [line.split()[2] for line in sources.lines] == ["trixie", "trixie-updates", "trixie-security"]
    assert wishes.with_dependencies[0] == "?essential"
    assert wishes.with_dependencies[-1] == "usr-is-merged"


def test_a_mirror_is_where_packages_are_fetched_and_not_what_the_image_knows() -> None:
    archive = FakeArchive()
    locked, _ = resolve(archive, apt_mirrors=(("ubuntu", "https://mirror.corp.example/u"),))
    assert archive.asked[0][0].lines[1] == "deb https://mirror.corp.example/u noble-updates main universe"
    assert locked.packages[0].url == "https://mirror.corp.example/u/pool/a.deb"
    assert locked.sources[1] == "deb http://archive.ubuntu.com/ubuntu noble-updates main universe"


@pytest.mark.parametrize("wanted", ["fedora:40", "debian", "debian:"])
def test_a_distribution_that_is_not_known_is_refused(wanted: str) -> None:
    with pytest.raises(RequestError, match="no distribution") as caught:
        resolve(FakeArchive(), base_distribution=wanted)
    assert "debian, ubuntu" in caught.value.hint


def test_an_archive_that_is_not_known_is_refused() -> None:
    with pytest.raises(RequestError, match="no package archive 'ubunut'"):
        resolve(FakeArchive(), apt_mirrors=(("ubunut", "http://m"),))


def test_a_base_is_made_anew_for_other_packages_and_nothing_else() -> None:
    image = plan(FakeArchive())
    assert plan(FakeArchive(), commit="f" * 40).fingerprint == image.fingerprint
    assert plan(FakeArchive(), apt_mirrors=(("ubuntu", "http://m"),)).fingerprint == image.fingerprint
    assert plan(FakeArchive(version="2")).fingerprint != image.fingerprint


def test_a_base_has_its_own_tag_whatever_the_releases_is() -> None:
    image = plan(FakeArchive(), tags=("1.29.0-corp",))
    assert [str(reference) for reference in image.references] == ["registry.corp.example/istio/base:1.29-2026-02-01T19-01-00"]
    assert image.platforms[0].dockerfile.startswith("FROM scratch\n")
    assert 'CMD ["/bin/bash"]' in image.platforms[0].dockerfile


def test_an_archive_without_an_address_needs_one() -> None:
    with pytest.raises(RequestError, match="where is the package archive 'debian'") as caught:
        resolve(FakeArchive(), base_distribution="debian:bookworm")
    assert "--apt-mirror debian=URL" in caught.value.hint
