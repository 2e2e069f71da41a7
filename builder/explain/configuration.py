"""How an image is run: each instruction of its Dockerfile, by the line of the template and the key of the recipe. Pure."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from builder.explain.evidence import Evidence, by_platform, has_line, line_origin
from builder.explain.fact import Fact, Origin
from builder.explain.template_lines import TemplateLines
from builder.oci.reference import Platform
from builder.plan.model import FilesLayer, PlannedFile, SourceFile
from builder.recipe.schema import AssembledImage, BuiltImage
from builder.recipe.template import exec_form, quoted, render_dockerfile
from builder.recipe.traced import TracedRecipe

# Stands where the base of each variant would.
_BASE = "base"
# Instructions with one value, and the keys of recipes that say it.
_KEYS = {"USER": "user", "WORKDIR": "workdir", "ENTRYPOINT": "entrypoint", "CMD": "command"}
_MAPPINGS = {"ENV": "env", "LABEL": "labels"}


def explain_configuration(evidence: Evidence, recipe: AssembledImage, traced: TracedRecipe) -> tuple[Fact, ...]:
    """Every instruction, in the order of the Dockerfile; then what the recipe says and no instruction does, or neither."""
    on = {platform: list(_instructions(evidence, recipe, traced, platform)) for platform in evidence.request.platforms}
    names = list(dict.fromkeys(fact.name for facts in on.values() for fact in facts))
    told = [
        fact
        for name in names
        for fact in by_platform([(platform, fact) for platform, facts in on.items() for fact in facts if fact.name == name])
    ]
    return (*told, *_unsaid(evidence, recipe, traced, names))


def _instructions(evidence: Evidence, recipe: AssembledImage, traced: TracedRecipe, platform: Platform) -> Iterator[Fact]:
    templates, said = dict(evidence.book.templates), _said(evidence, recipe, traced, platform)
    dockerfile = render_dockerfile(templates, recipe.template, _values(recipe, said))
    lines, archives = TemplateLines(templates, recipe.template), {layer.archive for layer in _layers(recipe)}
    for written, whole in _instruction_lines(dockerfile):
        word, _, rest = whole.partition(" ")
        name = f"{word} {rest.partition('=')[0]}" if word in _MAPPINGS else word
        line = lines.find(written)
        where = (_template_origin(evidence, line.template, line.line),) if line else ()
        fact = said.get(name)
        # A template may say the same thing twice, or otherwise than the recipe.
        if fact and (fact.value in rest or quoted(fact.value) in rest):
            yield Fact(name=name, value=fact.value, origins=(*fact.origins, *where), parts=fact.parts)
        elif (word, rest) == ("FROM", _BASE):
            yield Fact(name=word, value="the base", origins=where)
        elif not archives.isdisjoint(rest.split()):
            yield Fact(name=word, value="the files, each a layer", origins=where)
        else:
            yield Fact(name=name, value=rest, origins=where)


def _instruction_lines(dockerfile: str) -> Iterator[tuple[str, str]]:
    """The first line of each instruction, and all of it as one line."""
    whole: list[str] = []
    for line in dockerfile.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        whole.append(line.strip())
        if not line.rstrip().endswith("\\"):
            yield whole[0], " ".join(part.removesuffix("\\").strip() for part in whole)
            whole = []


def _template_origin(evidence: Evidence, template: str, line: int) -> Origin:
    return Origin(kind="template", path=evidence.template_path(template), line=line, key=template)


def _said(evidence: Evidence, recipe: AssembledImage, traced: TracedRecipe, platform: Platform) -> dict[str, Fact]:
    """What the recipe says, by the instruction that should say it."""
    found: dict[str, Fact] = {}
    for word, key in _KEYS.items():
        value = getattr(recipe, key)
        if value:
            text = value if isinstance(value, str) else exec_form(value)
            found[word] = Fact(name=word, value=text, origins=(line_origin(traced, key),))
    for word, key in _MAPPINGS.items():
        for name, text in getattr(recipe, key).items():
            found[f"{word} {name}"] = evidence.filled(name, text, (line_origin(traced, key, name),), platform)
    return found


def _values(recipe: AssembledImage, said: Mapping[str, Fact]) -> dict[str, Any]:
    """As a plan hands them to the template, but for the base, and for what layers hold."""
    filled = {
        key: tuple((name, said[f"{word} {name}"].value) for name in getattr(recipe, key)) for word, key in _MAPPINGS.items()
    }
    return {
        "name": recipe.image,
        "base": _BASE if isinstance(recipe, BuiltImage) else "scratch",
        "layers": _layers(recipe),
        "user": recipe.user,
        "workdir": recipe.workdir,
        "entrypoint": recipe.entrypoint,
        "command": recipe.command,
        **filled,
    }


def _layers(recipe: AssembledImage) -> tuple[FilesLayer, ...]:
    paths = ["rootfs"]
    if isinstance(recipe, BuiltImage):
        lists = (recipe.directories, recipe.files, recipe.artifacts, recipe.binaries)
        paths = [entry.path for entries in lists for entry in entries] + ["users"] * bool(recipe.users)
    return tuple(
        FilesLayer(
            archive=f"{number}-{PurePosixPath(path).name}.tar",
            files=(PlannedFile(origin=SourceFile(source=path), path=path, mode="0644", mtime=0),),
        )
        for number, path in enumerate(paths, start=1)
    )


def _unsaid(evidence: Evidence, recipe: AssembledImage, traced: TracedRecipe, names: list[str]) -> Iterator[Fact]:
    platform = evidence.request.platforms[0]
    template = Origin(kind="template", text="no line of it says so:", path=evidence.template_path(recipe.template), line=1)
    for name, fact in _said(evidence, recipe, traced, platform).items():
        if name not in names:
            yield Fact(name=name, value=f"{fact.value}, but not in the image", origins=(*fact.origins, template))
    for word, key in _KEYS.items():
        if word not in names and not getattr(recipe, key):
            where = line_origin(traced, key) if has_line(traced, key) else line_origin(traced, "image", text=f"no `{key}` in")
            yield Fact(name=word, value="the base image's own" if isinstance(recipe, BuiltImage) else "none", origins=(where,))


def explain_users(recipe: BuiltImage, traced: TracedRecipe) -> tuple[Fact, ...]:
    """The users that are added to those of the base image."""
    return tuple(
        Fact(
            name=user.name,
            value=f"{user.uid}:{user.uid}, home {user.home or f'/home/{user.name}'}",
            origins=(line_origin(traced, "users", index, "name"),),
        )
        for index, user in enumerate(recipe.users)
    )
