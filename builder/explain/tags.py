"""The tags that an image gets, and who says so: hub, tag, and whether the variant stands behind it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from builder.explain.evidence import Evidence, line_origin
from builder.explain.fact import Fact, Origin
from builder.oci.reference import Hub
from builder.plan.tags import image_references
from builder.recipe.schema import Mirror, RootfsImage
from builder.recipe.template import names_in, render_text
from builder.recipe.traced import TracedRecipe

_PLAIN = "the default variant, which gets the plain tag:"


def explain_tags(evidence: Evidence, image: str, variants: Sequence[str], traced: TracedRecipe) -> tuple[Fact, ...]:
    """All references of each variant."""
    return tuple(fact for variant in variants for fact in _tags(evidence, image, variant, traced))


def _tags(evidence: Evidence, image: str, variant: str, traced: TracedRecipe) -> Iterator[Fact]:
    is_default = variant == evidence.book.release.default_variant
    for hub in dict.fromkeys(evidence.request.hubs):
        for tag, where in _all_tags(evidence):
            for reference in image_references((hub,), (tag,), image, variant, is_default=is_default):
                if reference.tag == tag:
                    why = line_origin(evidence.release, "default_variant", text=_PLAIN)
                else:
                    why = line_origin(traced, "variants", variant, text="the variant:")
                yield Fact(name=variant, value=str(reference), origins=(_hub(evidence), where, why))


def _all_tags(evidence: Evidence) -> Iterator[tuple[str, Origin]]:
    asked = evidence.setting_or("tag", "")
    if evidence.request.tags:
        yield from ((tag, _told("the tag:", asked)) for tag in evidence.request.tags)
    else:
        yield evidence.values["version"], _told("the tag:", evidence.version_origins[0])
    moving = evidence.setting_or("moving_tags", "")
    yield from ((tag, _told("the moving tag:", moving)) for tag in evidence.request.moving_tags)


def explain_untagged(evidence: Evidence, image: str) -> tuple[Fact, ...]:
    """The references of a copy without variants, under the release's tags."""
    return tuple(
        Fact(name=image, value=str(hub.repository(image).at(tag)), origins=(_hub(evidence), where))
        for hub in dict.fromkeys(evidence.request.hubs)
        for tag, where in _all_tags(evidence)
    )


def explain_fixed_tags(evidence: Evidence, recipe: Mirror | RootfsImage, traced: TracedRecipe) -> tuple[Fact, ...]:
    """The references of an image whose recipe says its tags."""
    return tuple(
        _fixed(evidence, recipe, traced, hub, number) for hub in evidence.request.hubs for number in range(len(recipe.tags))
    )


def _fixed(evidence: Evidence, recipe: Mirror | RootfsImage, traced: TracedRecipe, hub: Hub, number: int) -> Fact:
    text = recipe.tags[number]
    tag = render_text(text, evidence.values, "tags")
    return Fact(
        name=recipe.image,
        value=str(hub.repository(recipe.image).at(tag)),
        origins=(_hub(evidence), line_origin(traced, "tags", number, text="the tag:")),
        parts=tuple(map(evidence.known, names_in(text))),
    )


def _hub(evidence: Evidence) -> Origin:
    return _told("the hub:", evidence.known("hub").origins[0])


def _told(text: str, origin: Origin) -> Origin:
    """The origin with these words before it."""
    return replace(origin, text=f"{text} {origin.text}".rstrip())
