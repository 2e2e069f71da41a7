"""The tags of images, as Istio sets them. Pure."""

import re
from collections.abc import Collection, Sequence
from typing import Protocol

from builder.config.counted_tag import parse_uncounted
from builder.errors import RequestError
from builder.oci.reference import Hub, ImageReference
from builder.recipe.istio_release import IstioRelease

# What stands in tags that follow something, and are no one build's: docs/tags.md lists them.
_MOVING_WORDS = frozenset(("dev", "latest", "nightly", "snapshot", "test", "wip"))


class Tagged(Protocol):
    """An image, or a set of its variants, with its tags."""

    @property
    def key(self) -> str:
        """What it is called."""
        ...

    @property
    def references(self) -> tuple[ImageReference, ...]:
        """All its tags."""
        ...


def plain_tag(tag: str, variants: Collection[str]) -> str:
    """The tag that was asked for, of one that has a variant behind it: `1.29.0` of `1.29.0-distroless`."""
    return next((tag.removesuffix(f"-{variant}") for variant in variants if tag.endswith(f"-{variant}")), tag)


def is_release_tag(tag: str) -> bool:
    """Whether a tag, its variant behind it or not, names a release of Istio, as `1.29.0` and `1.29.0-distroless` do, or one of
    somebody's own that is made of it: `1.29.0-corp.1`.

    `dev`, `latest`, a branch or a line such as `1.29` name none, and nor does `1.29.0-dev`, of which a word says that it moves.
    """
    words = re.split(r"[-._]", tag.lower())
    return IstioRelease.parse(tag) is not None and _MOVING_WORDS.isdisjoint(words)


def is_later_release(version: str, than: str) -> bool:
    """Whether one version that is stamped into programs (`1.29.0`, `corp-1.29.0`) is of a later release than the other.

    Not where one of the two names no release.
    """
    one, other = IstioRelease.find(version), IstioRelease.find(than)
    return bool(one and other and one.version > other.version)


def is_tag_of(tag: str, plain: str, key: str) -> bool:
    """Whether a tag of this image (`pilot-distroless`) is that plain one (`1.29.0`), its variant behind it or not."""
    suffix = tag.removeprefix(plain)
    return bool(plain) and tag.startswith(plain) and (not suffix or (suffix.startswith("-") and key.endswith(suffix)))


def is_of_tag(tag: str, plain: str, variants: Collection[str]) -> bool:
    """Whether a tag is that plain one, a variant behind it or not."""
    return plain in (tag, plain_tag(tag, variants))


def check_references(images: Sequence[Tagged]) -> None:
    """With the tags `1` and `1-distroless`, the plain tag of one variant would be the other variant's own."""
    owners: dict[ImageReference, str] = {}
    for image in images:
        for reference in image.references:
            if owners.setdefault(reference, image.key) != image.key:
                raise RequestError(
                    f"{reference} would be the tag of both {owners[reference]} and {image.key}",
                    hint="Each variant gets TAG-VARIANT besides; leave out the --tag that ends in a variant's name.",
                )


def image_references(
    hubs: tuple[Hub, ...], tags: tuple[str, ...], image: str, variant: str, *, is_default: bool
) -> tuple[ImageReference, ...]:
    """All tags of a variant as Istio sets them: `TAG-variant`, and before it the plain `TAG` for the default one.

    Raises RequestError where a tag gets too long with the variant behind it.
    """
    own = [name for tag in tags for name in _tags_of_variant(tag, variant, is_default=is_default)]
    return tuple(hub.repository(image).at(parse_uncounted(tag)) for hub in dict.fromkeys(hubs) for tag in dict.fromkeys(own))


def _tags_of_variant(tag: str, variant: str, *, is_default: bool) -> tuple[str, ...]:
    # Up to 1.11 the variant was called `default`, and had no tag of its own (tools/buildx-gen.sh@1.11.0).
    if variant == "default":
        return (tag,)
    return (tag, f"{tag}-{variant}") if is_default else (f"{tag}-{variant}",)


def mirror_references(
    hubs: tuple[Hub, ...],
    tags: tuple[str, ...],
    image: str,
    variants: tuple[tuple[str, bool], ...],
    fixed_tags: tuple[str, ...],
) -> tuple[ImageReference, ...]:
    """All tags of a mirror: its fixed ones, else those of each variant (its name, and whether it is the default one).

    Raises RequestError where a tag gets too long with a variant behind it.
    """
    if fixed_tags or not variants:
        own = dict.fromkeys(fixed_tags or tags)
        return tuple(hub.repository(image).at(parse_uncounted(tag)) for hub in dict.fromkeys(hubs) for tag in own)
    found = [
        reference
        for variant, is_default in variants
        for reference in image_references(hubs, tags, image, variant, is_default=is_default)
    ]
    return tuple(dict.fromkeys(found))
