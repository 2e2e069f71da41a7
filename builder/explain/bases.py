"""What an image stands on in each variant, or is a copy of: by which recipe line, registry and tag. Pure."""

from builder.explain.evidence import Evidence, line_origin
from builder.explain.fact import Fact, Origin
from builder.recipe.schema import BuiltImage, Mirror
from builder.recipe.template import names_in
from builder.recipe.traced import TracedRecipe
from builder.resolve.bases import base_reference
from builder.resolve.mirrors import mirror_reference


def explain_bases(evidence: Evidence, recipe: BuiltImage, variants: tuple[str, ...], traced: TracedRecipe) -> tuple[Fact, ...]:
    """The base of each variant."""
    return tuple(_base(evidence, variant, recipe.variants[variant].base, traced) for variant in variants)


def _base(evidence: Evidence, variant: str, name: str, traced: TracedRecipe) -> Fact:
    chosen = Fact(name="base", value=name, origins=(line_origin(traced, "variants", variant, "base"),))
    reference = base_reference(name, evidence.request, evidence.book, evidence.values)
    bound = tuple(
        Fact(name="bound to", value=digest, origins=(where,)) for base, digest, where in evidence.bound.bases if base == name
    )
    asked = evidence.setting("base") if name in dict(evidence.request.bases) else None
    where = line_origin(evidence.release, "bases", name)
    if asked:
        instead = Fact(name="instead of", value=evidence.book.release.bases[name], origins=(where,))
        return Fact(name=variant, value=str(reference), origins=(asked,), parts=(chosen, instead, *bound))
    used = tuple(map(evidence.known, names_in(evidence.book.release.bases[name])))
    return Fact(name=variant, value=str(reference), origins=(where,), parts=(chosen, *used, *bound))


def explain_mirror(evidence: Evidence, recipe: Mirror, traced: TracedRecipe) -> tuple[Fact, ...]:
    """What is copied."""
    reference = mirror_reference(recipe, evidence.request, evidence.book, evidence.values)
    where = line_origin(traced, "mirror")
    asked = _asked(evidence, recipe)
    if asked:
        instead = Fact(name="instead of", value=recipe.mirror, origins=(where,))
        return (Fact(name="copy of", value=str(reference), origins=(asked,), parts=(instead,)),)
    used = tuple(map(evidence.known, names_in(recipe.mirror)))
    return (Fact(name="copy of", value=str(reference), origins=(where,), parts=used),)


def _asked(evidence: Evidence, recipe: Mirror) -> Origin | None:
    """Which setting names the source: see `mirror_reference`."""
    if recipe.image in dict(evidence.request.mirror_sources):
        return evidence.setting("mirror_from")
    if recipe.group == "bases" and recipe.image in dict(evidence.request.bases):
        return evidence.setting("base")
    return None
