"""The files of an image: which line puts each there, and where its content comes from. Pure but for what `evidence` is asked."""

from builder.config.request import ARTIFACTS_WITH_FLAGS
from builder.explain.evidence import Evidence, by_platform, has_line, line_origin
from builder.explain.fact import Fact, Origin
from builder.oci.reference import Platform
from builder.recipe.schema import BuiltImage
from builder.recipe.template import names_in
from builder.recipe.traced import TracedRecipe

_OWNER = Fact(name="owner", value="0:0", origins=(Origin(kind="builder", text="all files of a layer are root's"),))
_SOURCES_DEFAULT = "file, url, image: the first that has it"


def explain_files(evidence: Evidence, recipe: BuiltImage, traced: TracedRecipe) -> tuple[Fact, ...]:
    """Every file, in the order of the image's layers."""
    facts: list[Fact] = []
    for index, directory in enumerate(recipe.directories):
        held = f"{directory.source}, {_listed(evidence, directory.source)}"
        facts.append(_file(traced, ("directories", index), directory.path, held, _OF_THE_TREE))
    for index, file in enumerate(recipe.files):
        place = ("files", index)
        facts.append(_file(traced, place, file.path, file.source, _mode(traced, place, file.mode)))
    for index, download in enumerate(recipe.artifacts):
        place = ("artifacts", index)
        looked_for = _artifact(evidence, download.artifact)
        facts.append(_file(traced, place, download.path, download.artifact, *looked_for, _mode(traced, place, download.mode)))
    for index, binary in enumerate(recipe.binaries):
        place = ("binaries", index)
        facts.append(_file(traced, place, binary.path, f"go build {binary.main}", _mode(traced, place, binary.mode)))
    return tuple(facts)


# The key of each list whose value says where the content comes from.
_FROM = {"directories": "source", "files": "source", "artifacts": "artifact", "binaries": "main"}
_OF_THE_TREE = Fact(name="mode", value="0644, or 0755", origins=(Origin(kind="git", text="whether git has it as a program"),))


def _file(traced: TracedRecipe, place: tuple[str, int], path: str, content: str, *more: Fact) -> Fact:
    """A file of one of the recipe's lists: `place` is the list and the number there."""
    kind, index = place
    source = Fact(name="from", value=content, origins=(line_origin(traced, kind, index, _FROM[kind]),))
    return Fact(name=path, value="", origins=(line_origin(traced, kind, index, "path"),), parts=(source, *more, _OWNER))


def _mode(traced: TracedRecipe, place: tuple[str, int], mode: str) -> Fact:
    if has_line(traced, *place, "mode"):
        return Fact(name="mode", value=mode, origins=(line_origin(traced, *place, "mode"),))
    return Fact(name="mode", value=mode, origins=(Origin(kind="default", text=f"the default of {place[0]}", key="mode"),))


def _listed(evidence: Evidence, source: str) -> str:
    count = len(evidence.list_directory(source).files)
    return f"{count} file{'' if count == 1 else 's'}"


def _artifact(evidence: Evidence, name: str) -> tuple[Fact, ...]:
    """The places where it is looked for, in their order, platform by platform; and who says which."""
    artifact = evidence.book.release.artifacts[name]
    settings = _settings(evidence, name)
    order = Origin(kind="default", text=_SOURCES_DEFAULT)
    if settings in ARTIFACTS_WITH_FLAGS:
        order = evidence.setting_or(f"{settings}_from", _SOURCES_DEFAULT)
    facts = [(platform, _places(evidence, name, platform, order)) for platform in evidence.request.platforms]
    member: tuple[Fact, ...] = ()
    if artifact.member:
        where = line_origin(evidence.release, "artifacts", name, "member")
        member = (Fact(name="member", value=artifact.member, origins=(where,)),)
    return (*by_platform(facts), *member)


def _places(evidence: Evidence, name: str, platform: Platform, order: Origin) -> Fact:
    parts: list[Fact] = []
    urls = 0
    for source, place in evidence.places(name, platform):
        match source:
            case "file":
                parts.append(Fact(name=source, value=place, origins=(evidence.setting_or(_settings(evidence, name), ""),)))
            case "image":
                parts.append(_image_place(evidence, name, place.removeprefix("image ")))
            case _:
                parts.append(_url_place(evidence, name, platform, place, urls))
                urls += 1
    return Fact(
        name="looked for",
        value="in this order" if parts else "nowhere: nobody publishes it",
        origins=(order,),
        parts=tuple(parts),
    )


def _settings(evidence: Evidence, name: str) -> str:
    """The artifact whose settings count for this one."""
    return evidence.book.release.artifacts[name].beside or name


def _image_place(evidence: Evidence, name: str, place: str) -> Fact:
    artifact, settings, release = evidence.book.release.artifacts[name], _settings(evidence, name), evidence.release
    inside = line_origin(release, "artifacts", name, "image_path")
    if settings in dict(evidence.request.artifact_images):
        return Fact(name="image", value=place, origins=(evidence.setting_or(f"{settings}_image", ""), inside))
    origins = (line_origin(release, "artifacts", name, "image"), inside)
    return Fact(name="image", value=place, origins=origins, parts=tuple(map(evidence.known, names_in(artifact.image))))


def _url_place(evidence: Evidence, name: str, platform: Platform, place: str, number: int) -> Fact:
    """One of the URLs: `number` says which of the recipe's, where no setting names another."""
    artifact, settings, release = evidence.book.release.artifacts[name], _settings(evidence, name), evidence.release
    is_debug = name in evidence.request.debug_artifacts
    key, files = ("debug_file", artifact.debug_file) if is_debug else ("file", artifact.file)
    mirrored = settings in dict(evidence.request.artifact_urls)
    base = line_origin(release, "artifacts", name, "base_urls", number)
    origins = (
        evidence.setting_or(f"{settings}_url", "") if mirrored else base,
        line_origin(release, "artifacts", name, key, platform.architecture),
        *((evidence.setting_or(f"debug_{settings}", ""),) if is_debug else ()),
    )
    text = next((text for architecture, text in files.items() if architecture == platform.architecture), "") or ""
    return Fact(name="url", value=place, origins=origins, parts=tuple(map(evidence.known, names_in(text))))
