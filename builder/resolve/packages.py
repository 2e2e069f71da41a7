"""Looks up which packages a base image is made of: their exact files, by sha256, in the archives of a distribution.

The lock holds the packages and not the archive's state, so that an image is made anew when one of its own packages has
changed, not whenever the archive has.
"""

import re

from builder.config.request import Request
from builder.errors import RecipeError, RequestError
from builder.oci.reference import Platform, redact_url
from builder.plan.lock import LockedPackages, UrlArtifact
from builder.ports import FoundPackage, PackageFinder, PackageSources, PackageWishes
from builder.recipe.book import RecipeBook
from builder.recipe.rootfs_schema import Distribution, Rootfs
from builder.recipe.schema import RootfsImage
from builder.recipe.template import render_text


def resolve_packages(
    recipe: RootfsImage, platform: Platform, request: Request, book: RecipeBook, finder: PackageFinder | None
) -> LockedPackages:
    """The packages of this image on this platform. Raises RequestError, RecipeError, BaseImageError."""
    assert finder is not None
    name, distribution, suite = _distribution(request, book)
    mirrors = dict(request.apt_mirrors)
    _check_mirrors(mirrors, book)
    here = _sources(distribution, suite, platform, mirrors)
    if not here:
        raise RecipeError(f"release.yaml: distributions.{name}.archives has none for {platform.architecture}")
    sources = PackageSources(
        architecture=platform.architecture,
        lines=here,
        keyring=distribution.keyring,
        keyring_package=distribution.keyring_package,
    )
    found = finder.find(sources, _wishes(recipe.rootfs, name))
    return LockedPackages(
        image=recipe.image,
        platform=platform,
        packages=tuple(_lock(package, platform) for package in found),
        sources=_own_sources(distribution, suite, platform, mirrors),
    )


def packages_asked(recipe: RootfsImage, request: Request, book: RecipeBook) -> tuple[str, ...]:
    """What is asked of the archives, as texts without credentials: the distribution, other mirrors, names of packages."""
    name, _, suite = _distribution(request, book)
    wishes = _wishes(recipe.rootfs, name)
    mirrors = (f"{archive}={redact_url(url)}" for archive, url in sorted(request.apt_mirrors))
    return (f"{name}:{suite}", *mirrors, *wishes.with_dependencies, *(f"{package} alone" for package in wishes.alone))


def real_package_url(url: str, request: Request) -> str:
    """The URL with the credentials that the request has for the mirror that it is below."""
    for _, mirror in request.apt_mirrors:
        shown = redact_url(mirror).rstrip("/") + "/"
        if url.startswith(shown):
            return mirror.rstrip("/") + "/" + url.removeprefix(shown)
    return url


def _distribution(request: Request, book: RecipeBook) -> tuple[str, Distribution, str]:
    wanted = request.base_distribution or book.release.base_distribution
    name, _, suite = wanted.partition(":")
    known = book.release.distributions
    if name not in known or not suite:
        raise RequestError(
            f"there is no distribution {wanted!r} to build base images from",
            hint=f"Write it as --base-distribution NAME:SUITE, such as debian:bookworm. Known names: {', '.join(sorted(known))}.",
        )
    return name, known[name], suite


def _check_mirrors(mirrors: dict[str, str], book: RecipeBook) -> None:
    known = sorted({name for distribution in book.release.distributions.values() for name in distribution.archives})
    for name in mirrors:
        if name not in known:
            raise RequestError(f"there is no package archive {name!r}", hint=f"Known archives: {', '.join(known)}.")


def _own_sources(distribution: Distribution, suite: str, platform: Platform, mirrors: dict[str, str]) -> tuple[str, ...]:
    """The sources.list of the image: the archives themselves, or the mirror of one that has no address; no credentials."""
    addresses = {
        name: archive.url or mirrors[name] for name, archive in distribution.archives.items() if archive.url or name in mirrors
    }
    without_user = {name: re.sub(r"(?<=://)[^/@]*@", "", address) for name, address in addresses.items()}
    return _sources(distribution, suite, platform, without_user)


def _sources(distribution: Distribution, suite: str, platform: Platform, mirrors: dict[str, str]) -> tuple[str, ...]:
    """Lines of a sources.list. Raises RequestError for an archive whose address nobody gave."""
    for name, archive in distribution.archives.items():
        if platform.architecture in archive.architectures and not (archive.url or name in mirrors):
            raise RequestError(
                f"where is the package archive {name!r}?",
                hint=f"Give its address with --apt-mirror {name}=URL; /etc/apt has it on a machine of that distribution.",
            )
    return tuple(
        f"deb {mirrors.get(name, archive.url)} {render_text(pattern, {'suite': suite}, name)} {' '.join(archive.components)}"
        for name, archive in distribution.archives.items()
        if platform.architecture in archive.architectures
        for pattern in archive.suites
    )


def _wishes(rootfs: Rootfs, distribution: str) -> PackageWishes:
    essential = ("?essential",) if rootfs.essential else ()
    more = rootfs.distribution_packages.get(distribution, ())
    return PackageWishes(with_dependencies=(*essential, *rootfs.packages, *more), alone=rootfs.packages_alone)


def _lock(package: FoundPackage, platform: Platform) -> UrlArtifact:
    return UrlArtifact(name=package.file, platform=platform, url=package.url, sha256=package.sha256)
