"""What an image that is made of packages holds: by the lines of its recipe, and where packages come from. Pure."""

from collections.abc import Iterator

from builder.explain.evidence import Evidence, line_origin
from builder.explain.fact import Fact, Origin
from builder.recipe.schema import RootfsImage
from builder.recipe.traced import TracedRecipe

_WORDS = ("packages", "packages_alone", "remove", "keep")
_MAPPINGS = ("copies", "alternatives", "links", "directories", "capabilities", "contents", "appended", "modes")
_LONGEST = 60


def explain_packages(evidence: Evidence, recipe: RootfsImage, traced: TracedRecipe) -> tuple[Fact, ...]:
    """What it is made of, what is set up then, and what is left out; its packages are found in the archives when it is built."""
    return (*_archives(evidence), *_contents(evidence, recipe, traced))


def _distribution(evidence: Evidence) -> tuple[str, Origin]:
    asked = evidence.setting("base_distribution")
    wanted = evidence.request.base_distribution or evidence.book.release.base_distribution
    return wanted, asked or line_origin(evidence.release, "base_distribution")


def _archives(evidence: Evidence) -> Iterator[Fact]:
    wanted, where = _distribution(evidence)
    yield Fact(name="distribution", value=wanted, origins=(where,))
    name = wanted.partition(":")[0]
    mirrors = dict(evidence.request.apt_mirrors)
    known = evidence.book.release.distributions
    for archive, entry in known[name].archives.items() if name in known else ():
        platforms = tuple(str(each) for each in evidence.request.platforms if each.architecture in entry.architectures)
        if not platforms:
            continue
        line = line_origin(evidence.release, "distributions", name, "archives", archive)
        asked = (evidence.setting_or("apt_mirror", ""),) if archive in mirrors else ()
        value = "a mirror of it" if asked else entry.url or "whatever --apt-mirror says"
        yield Fact(name=f"archive {archive}", value=value, origins=(*asked, line), platforms=platforms)


def _contents(evidence: Evidence, recipe: RootfsImage, traced: TracedRecipe) -> Iterator[Fact]:
    rootfs = recipe.rootfs
    if rootfs.essential:
        yield Fact(
            name="essential", value="all packages that every system has", origins=(line_origin(traced, "rootfs", "essential"),)
        )
    for key in _WORDS:
        for number, word in enumerate(getattr(rootfs, key)):
            yield Fact(name=key, value=word, origins=(line_origin(traced, "rootfs", key, number),))
    distribution = _distribution(evidence)[0].partition(":")[0]
    for number, word in enumerate(rootfs.distribution_packages.get(distribution, ())):
        where = line_origin(traced, "rootfs", "distribution_packages", distribution, number)
        yield Fact(name="packages", value=word, origins=(where,))
    for number, account in enumerate(rootfs.accounts):
        where = line_origin(traced, "rootfs", "accounts", number, "name")
        yield Fact(name="account", value=f"{account.name} {account.uid}", origins=(where,))
    for key in _MAPPINGS:
        for name, value in getattr(rootfs, key).items():
            yield Fact(name=key, value=_told(name, value), origins=(line_origin(traced, "rootfs", key, name),))


def _told(name: str, value: object) -> str:
    """A path, and behind it what is said of it where that is short."""
    text = ", ".join(value) if isinstance(value, tuple) else value
    return f"{name} {text}" if isinstance(text, str) and len(text) <= _LONGEST and "\n" not in text else name
