"""Takes what a lock binds instead of looking it up: digests and sums as they stand there, and what they name read by digest."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from builder import __version__
from builder.errors import LockError, RequestError
from builder.oci.reference import Digest, ImageReference, Platform
from builder.plan.lock import (
    AppliedPatch,
    ImageArtifact,
    LockedArtifact,
    LockedBase,
    LockedGo,
    LockedMirror,
    LockedPackages,
    SourceFacts,
    UrlArtifact,
)
from builder.ports import ImageReader, TreeState
from builder.recipe.book import RecipeBook
from builder.recipe.yaml_file import Location
from builder.resolve.asked import Asked, go_asked
from builder.resolve.bases import read_pinned_platform, resolve_base
from builder.resolve.lock_file import ArtifactEntry, BaseEntry, GoEntry, LockFile, MirrorEntry, PackagesEntry, PlatformText
from builder.resolve.packages import real_package_url
from builder.resolve.source import bind_state

Entry = TypeVar("Entry", GoEntry, BaseEntry, ArtifactEntry, MirrorEntry, PackagesEntry)
SOURCE, GO = "source", "go"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInUse:
    """A lock that was read. `where` gives file and line of a place in it.

    `strict`: what it does not bind is an error, as with --locked; else that is looked up, and so is what `renew` names.
    """

    file: LockFile
    where: Callable[[Location], str]
    strict: bool
    renew: frozenset[str] = frozenset()

    def check_recipes(self, book: RecipeBook, note: Callable[[str], None]) -> None:
        """Raises LockError where the lock was made with other recipes: they decide as much as what is bound."""
        if not self.strict:
            return
        if self.file.recipes != book.digest.text:
            by = "" if self.file.istio_build == __version__ else f" by istio-build {self.file.istio_build}; this is {__version__}"
            raise LockError(
                f"{self.where(('recipes',))}: the lock was made with other recipes or templates{by}",
                hint="Is --recipes or --bases another? `istio-build lock`, with the same settings, binds those of now and keeps "
                "the rest.",
            )
        if self.file.istio_build != __version__:
            note(f"The lock was written by istio-build {self.file.istio_build}; this is {__version__}.")

    def bind_source(self, found: SourceFacts, tree: Path) -> SourceFacts:
        """The facts of the tree with the state that the lock binds. Raises LockError where it binds another."""
        refuse_dirty(found.state, tree)
        if not self.strict and SOURCE in self.renew:
            return found
        bound = self.file.source
        for key, has, asked in (
            ("commit", bound.commit, found.state.commit),
            ("tree", bound.tree, found.state.content),
        ):
            if has == asked:
                continue
            why = "" if key == "commit" else ": git ignores files of it that Go compiles"
            raise LockError(
                f"{self.where(('source', key))}: source.{key}: the lock has {has}, and {tree} is at {asked}{why}",
                hint=_mend(SOURCE),
            )
        self._check_patches(found)
        state = replace(found.state, tag=bound.tag, description=bound.description, committed_at=bound.committed_at)
        return bind_state(found, state, tree)

    def _check_patches(self, found: SourceFacts) -> None:
        """Like recipes, they decide as much as what is bound; their names do not."""
        bound = [AppliedPatch(name=patch.name, sha256=patch.sha256) for patch in self.file.patches]
        if self.strict and [patch.sha256 for patch in bound] != [patch.sha256 for patch in found.patches]:
            raise LockError(
                f"{self.where(('patches',))}: patches: the lock has {_text(tuple(map(str, bound)))}, and "
                f"{_text(tuple(map(str, found.patches)))} is asked for",
                hint="Is --patch another? `istio-build lock`, with the same settings, binds those of now and keeps the rest.",
            )

    def go(self, asked: str) -> LockedGo | None:
        """The Go, None where it is to be looked up. Raises LockError."""
        entry = self.take((GO,), GO, self.file.go, asked)
        if entry is None:
            return None
        image = self.reference((GO, "image"), entry.image) if entry.image else None
        return LockedGo(version=entry.version, reason=entry.reason, image=image)

    def take(self, location: Location, name: str, entry: Entry | None, asked: str | tuple[str, ...]) -> Entry | None:
        """The entry where it counts, None where it does not and something else is to be looked up. Raises LockError."""
        if name in self.renew:
            return None
        if entry is None:
            self.refuse(location, name, "the lock binds none, and it is asked for")
        elif entry.asked != asked:
            self.refuse((*location, "asked"), name, f"the lock has {_text(entry.asked)}, and {_text(asked)} is asked for")
            return None
        return entry

    def refuse(self, location: Location, name: str, why: str) -> None:
        """Raises LockError where the lock is to be obeyed."""
        if self.strict:
            key = ".".join(map(str, location))
            raise LockError(f"{self.where(location)}: {key}: {why}", hint=_mend(name))

    def reference(self, location: Location, text: str) -> ImageReference:
        """An image bound to a digest. Raises LockError where the text is none."""
        try:
            reference = ImageReference.parse(text)
        except RequestError as error:
            raise self.damaged(location, error.message) from error
        if reference.digest is None:
            raise self.damaged(location, f"{text} is bound to no digest")
        return reference

    def damaged(self, location: Location, why: str) -> LockError:
        """What to raise for what no lock says that we wrote."""
        key = ".".join(map(str, location))
        return LockError(f"{self.where(location)}: {key}: {why}", hint="Take the file from version control, or write it anew.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a lock has for a request; each method gives None for what is to be looked up, and raises LockError."""

    lock: LockInUse
    asked: Asked
    registry: ImageReader

    def go(self) -> LockedGo | None:
        """The Go."""
        return self.lock.go(go_asked(self.asked.request.go, self.asked.source))

    def base(self, name: str) -> LockedBase | None:
        """A base image; the configurations of its platforms are read by digest."""
        location, reference = ("bases", name), self.asked.base(name)
        entry = self.lock.take(location, name, self.lock.file.bases.get(name), str(reference))
        if entry is None:
            return None
        pinned, request = reference.pinned(Digest(entry.digest)), self.asked.request
        bound = {Platform.parse(platform): Digest(digest) for platform, digest in entry.platforms.items()}
        missing = [str(platform) for platform in request.platforms if platform not in bound]
        if missing:
            self.lock.refuse(location, name, f"the lock lacks {', '.join(missing)}; it has {', '.join(entry.platforms)}")
            request = replace(request, bases=((name, str(pinned)),))
            return resolve_base(name, request, self.asked.book, self.asked.values, self.registry)
        platforms = tuple(
            read_pinned_platform(reference, bound[platform], platform, self.registry) for platform in request.platforms
        )
        return LockedBase(name=name, reference=pinned, platforms=platforms)

    def artifact(self, name: str, platform: Platform) -> LockedArtifact | None:
        """An artifact: a file of the user's own must have the sum, the others are fetched by it."""
        location = ("artifacts", name, str(platform))
        entry = self.lock.file.artifacts.get(name, {}).get(_key(platform))
        entry = self.lock.take(location, name, entry, self.asked.artifact(name, platform))
        if entry is None:
            return None
        if entry.kind == "url":
            url = self.asked.finder.real_url(name, platform, entry.found)
            return UrlArtifact(name=name, platform=platform, url=url, sha256=entry.sha256, member=entry.member)
        if entry.kind == "file":
            return self._own_file(location, name, platform, entry)
        reference = self.lock.reference((*location, "found"), entry.found)
        if not reference.digest or reference.digest.hex != entry.sha256:
            raise self.lock.damaged((*location, "sha256"), "it is not that of the digest in `found`")
        return ImageArtifact(name=name, platform=platform, reference=reference, member=entry.member)

    def _own_file(self, location: Location, name: str, platform: Platform, entry: ArtifactEntry) -> LockedArtifact | None:
        own = self.asked.finder.find_own(name, platform)
        if own is None:
            raise self.lock.damaged((*location, "kind"), "no file of your own is asked for")
        if own.sha256 != entry.sha256:
            self.lock.refuse(
                (*location, "sha256"), name, f"the lock has a file with {entry.sha256}, and {own.location} has {own.sha256}"
            )
        return own

    def mirror(self, image: str) -> LockedMirror | None:
        """An image to copy."""
        location, reference = ("mirrors", image), self.asked.mirror(image)
        entry = self.lock.take(location, image, self.lock.file.mirrors.get(image), str(reference))
        if entry is None:
            return None
        platforms = tuple(Platform(*text.split("/")) for text in entry.platforms)
        missing = [str(platform) for platform in self.asked.request.platforms if platform not in platforms]
        if missing:
            self.lock.refuse(location, image, f"the image that the lock has lacks {', '.join(missing)}")
            return None
        return LockedMirror(image=image, source=reference.pinned(Digest(entry.digest)), platforms=platforms)

    def packages(self, image: str, platform: Platform) -> LockedPackages | None:
        """The packages that an image is made of."""
        location = ("packages", image, str(platform))
        entry = self.lock.file.packages.get(image, {}).get(_key(platform))
        entry = self.lock.take(location, image, entry, self.asked.packages(image))
        if entry is None:
            return None
        packages = tuple(
            UrlArtifact(
                name=name, platform=platform, url=real_package_url(package.url, self.asked.request), sha256=package.sha256
            )
            for name, package in entry.packages.items()
        )
        return LockedPackages(image=image, platform=platform, packages=packages, sources=entry.sources)


def refuse_dirty(state: TreeState, tree: Path) -> None:
    """Raises LockError where no commit says what the tree holds."""
    if state.dirty:
        raise LockError(
            f"{tree} has changes that are not committed, and a lock binds a commit",
            hint="Commit or stash them, or build without --locked.",
        )


def _key(platform: Platform) -> "PlatformText":
    return cast("PlatformText", str(platform))


def _text(asked: str | tuple[str, ...]) -> str:
    return asked if isinstance(asked, str) else "; ".join(asked) or "nothing"


def _mend(name: str) -> str:
    return f"`istio-build lock --update {name}`, with the same settings, binds what is asked for."
