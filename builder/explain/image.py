"""One image, explained: what its recipe is, and then each thing in it. Pure but for what `evidence` is asked."""

from collections.abc import Iterator

from builder.explain.bases import explain_bases, explain_mirror
from builder.explain.configuration import explain_configuration, explain_users
from builder.explain.evidence import Evidence, has_line, line_origin, origin_of
from builder.explain.fact import ExplainedImage, Fact, ImageKind, Origin, Section
from builder.explain.files import explain_files
from builder.explain.packages import explain_packages
from builder.explain.programs import explain_compiling, explain_programs
from builder.explain.tags import explain_fixed_tags, explain_tags, explain_untagged
from builder.oci.reference import redact_url
from builder.recipe.availability import range_text
from builder.recipe.by_release import edges
from builder.recipe.istio_release import IstioRelease
from builder.recipe.schema import AssembledImage, BuiltImage, ImageRecipe, Mirror
from builder.recipe.traced import TracedRecipe

_BETWEEN = Origin(kind="builder", text="no range of its recipe or of release.yaml begins or ends among them")


def explain_image(evidence: Evidence, recipe: ImageRecipe, variants: tuple[str, ...]) -> ExplainedImage:
    """Everything in the image, in these variants."""
    traced = evidence.recipe(recipe.image)
    match recipe:
        case BuiltImage():
            return _explained(evidence, recipe, "built", variants, _built(evidence, recipe, variants, traced))
        case Mirror():
            return _explained(evidence, recipe, "mirror", variants, _mirror(evidence, recipe, variants, traced))
    sections = (
        Section(name="packages", facts=explain_packages(evidence, recipe, traced)),
        Section(name="configuration", facts=explain_configuration(evidence, recipe, traced)),
        Section(name="tags", facts=explain_fixed_tags(evidence, recipe, traced)),
    )
    return _explained(evidence, recipe, "packages", variants, sections)


def _built(evidence: Evidence, recipe: BuiltImage, variants: tuple[str, ...], traced: TracedRecipe) -> tuple[Section, ...]:
    return (
        Section(name="bases", facts=explain_bases(evidence, recipe, variants, traced)),
        Section(name="files", facts=explain_files(evidence, recipe, traced)),
        Section(name="programs", facts=explain_programs(evidence, recipe, traced)),
        Section(name="compiling", facts=explain_compiling(evidence) if recipe.binaries else ()),
        Section(name="users", facts=explain_users(recipe, traced)),
        Section(name="configuration", facts=explain_configuration(evidence, recipe, traced)),
        Section(name="tags", facts=explain_tags(evidence, recipe.image, variants, traced)),
    )


def _mirror(evidence: Evidence, recipe: Mirror, variants: tuple[str, ...], traced: TracedRecipe) -> tuple[Section, ...]:
    if recipe.tags:
        tags = explain_fixed_tags(evidence, recipe, traced)
    elif variants:
        tags = explain_tags(evidence, recipe.image, variants, traced)
    else:
        tags = explain_untagged(evidence, recipe.image)
    return (Section(name="copy", facts=explain_mirror(evidence, recipe, traced)), Section(name="tags", facts=tags))


def _explained(
    evidence: Evidence,
    recipe: ImageRecipe,
    kind: ImageKind,
    variants: tuple[str, ...],
    sections: tuple[Section, ...],
) -> ExplainedImage:
    about = Section(name="recipe", facts=tuple(_recipe(evidence, recipe)))
    rest = (Section(name="platforms", facts=_platforms(evidence)), Section(name="settings", facts=_settings(evidence)))
    held = tuple(section for section in (about, *sections, *rest) if section.facts)
    return ExplainedImage(image=recipe.image, kind=kind, variants=variants, sections=held)


def _recipe(evidence: Evidence, recipe: ImageRecipe) -> Iterator[Fact]:
    traced, istio = evidence.recipe(recipe.image), evidence.book.istio
    before = _replaced(evidence, str(traced.path))
    yield Fact(name="recipe", value=recipe.image, origins=(line_origin(traced, "image"),), parts=before)
    known = line_origin(evidence.release, "releases", text=f"the recipes are for {evidence.book.release.releases}:")
    yield Fact(name="release", value=str(istio), origins=(*evidence.release_origins, known))
    yield Fact(name="the same for", value=_same_for(evidence, recipe.image), origins=(_BETWEEN, *_presence(traced)))
    group = line_origin(traced, "group") if has_line(traced, "group") else Origin(kind="default", text="the default", key="group")
    yield Fact(name="group", value=recipe.group, origins=(group,))
    if isinstance(recipe, AssembledImage):
        path = evidence.template_path(recipe.template)
        written = Origin(kind="template", path=path, line=1, key=recipe.template)
        where = (line_origin(traced, "template"), written)
        yield Fact(name="template", value=recipe.template, origins=where, parts=_replaced(evidence, path))
    shared = str(evidence.release.path)
    if _replaced(evidence, shared):
        first = Origin(kind="recipe", path=shared, line=1)
        yield Fact(name="shared by all", value="release.yaml", origins=(first,), parts=_replaced(evidence, shared))
    for patch in evidence.source.patches:
        yield Fact(name="patch", value=str(patch), origins=(evidence.setting_or("patches", ""),))


def _replaced(evidence: Evidence, path: str) -> tuple[Fact, ...]:
    """The files that this one stands in place of, the last one first."""
    replaced = {str(file): str(before) for file, before in evidence.recipes.replaced}
    found: list[Fact] = []
    while path in replaced:
        path = replaced.pop(path)
        found.append(Fact(name="instead of", value="", origins=(Origin(kind="recipe", path=path, line=1),)))
    return tuple(found)


def _same_for(evidence: Evidence, image: str) -> str:
    """The releases around this one for which neither the recipe nor release.yaml says anything else."""
    document = dict(evidence.recipes.images)[image]
    turns = sorted(edges(document) | edges(evidence.recipes.release) | {evidence.recipes.releases.edges[0]})
    version = evidence.book.istio.version
    first = max(turn for turn in turns if turn <= version)
    after = min((turn for turn in turns if turn > version), default=None)
    return range_text(IstioRelease(*first), IstioRelease(*after) if after else None)


def _presence(traced: TracedRecipe) -> tuple[Origin, ...]:
    """Where the recipe says for which releases it is, if it does."""
    line = traced.line("image")
    if not line or not line.ranges:
        return ()
    return (Origin(kind="recipe", path=str(traced.path), line=line.ranges[0].line, key="istio", ranges=line.ranges[:1]),)


def _platforms(evidence: Evidence) -> tuple[Fact, ...]:
    where = evidence.setting_or("platform", "all that Istio has")
    return tuple(Fact(name=str(platform), value="", origins=(where,)) for platform in evidence.request.platforms)


def _settings(evidence: Evidence) -> tuple[Fact, ...]:
    return tuple(
        Fact(name=setting.name, value=redact_url(setting.value), origins=(origin_of(setting),)) for setting in evidence.settings
    )
