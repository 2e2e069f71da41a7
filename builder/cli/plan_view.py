"""Shows a plan before anything runs: as a table, as JSON, as Dockerfiles, as the bake definition."""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from builder.cli.screen import ENDLESS, Rows, Screen
from builder.config.merged import Setting
from builder.engine.bake import bake_definition
from builder.oci.reference import Digest, Hub, ImageReference, Platform, Repository, redact_url
from builder.plan.assembly import assembly_target
from builder.plan.lock import FileArtifact, ImageArtifact, LockedArtifact, UrlArtifact
from builder.plan.model import CompiledFile, CompileStep, ImagePlan, MirrorPlan, Plan
from builder.plan.shards import split_plan
from builder.recipe.rootfs_schema import Rootfs
from builder.runtime.text import counted

_KINDS = {FileArtifact: "file", UrlArtifact: "url", ImageArtifact: "image"}
_PAIRS = tuple[tuple[str, str], ...]


def plan_json(plan: Plan, settings: tuple[Setting, ...], compared: dict[str, Any] | None = None) -> str:
    """The whole plan, with the origin of each setting, as JSON text; `compared` is what a push would do at the hubs."""
    shown = [replace(setting, value=redact_url(setting.value)) for setting in settings]
    document = {"settings": [_plain(setting) for setting in shown], **_plain(plan)}
    return json.dumps(document | ({"against_hub": compared} if compared else {}), indent=2)


def plan_dockerfiles(plan: Plan) -> str:
    """The rendered Dockerfiles one after the other, each under a line that says what it is for."""
    parts = [
        f"# ---- {image.key} {platform.platform}\n{platform.dockerfile}" for image in plan.images for platform in image.platforms
    ]
    parts += [f"# ---- {mirror.key}: a copy of {mirror.source}, which no Dockerfile makes\n" for mirror in plan.mirrors]
    return "\n".join(parts).rstrip()


def plan_bake(plan: Plan) -> str:
    """The bake definition, with directories below `.` where a run has those of its cache.

    An image that is made of packages gets the time of the newest of their files in a run, which is not known before they
    are unpacked; here it has that of the commit.
    """
    targets = [
        assembly_target(image, platform, Path(), plan.source_date_epoch) for image in plan.images for platform in image.platforms
    ]
    return json.dumps(bake_definition(targets), indent=2)


def plan_matrix(plan: Plan, count: int) -> str:
    """The parts for this many machines, as JSON on one line: what GitHub's `fromJSON` makes a matrix of.

    Raises RequestError where there is nothing to do for some of them.
    """
    rows = [
        {
            "shard": f"{number}/{count}",
            "name": f"shard-{number}-of-{count}",
            "platforms": ",".join(sorted({str(piece.platform) for piece in part if piece.platform})),
            "images": ",".join(sorted({piece.image for piece in part})),
        }
        for number, part in enumerate(split_plan(plan, count), start=1)
    ]
    return json.dumps({"include": rows})


def plan_table(plan: Plan, settings: tuple[Setting, ...], screen: Screen = ENDLESS) -> str:
    """What would be done, for people."""
    lines = screen.fold(f"Istio {plan.version}, commit {plan.commit[:12]}, {_go(plan)}stamped for {plan.hub}")
    for title, rows in _tables(plan, settings):
        lines += ["", title, *screen.table(rows, indent="  ")]
    lines += ["", "Images"]
    told = [line for image in plan.images for line in _image_lines(image)]
    told += [line for mirror in plan.mirrors for line in _mirror_lines(mirror)]
    return "\n".join([*lines, *(part for line in told for part in screen.fold(line))])


def _tables(plan: Plan, settings: tuple[Setting, ...]) -> Iterator[tuple[str, Rows]]:
    yield "Settings", [(setting.name, redact_url(setting.value), setting.origin) for setting in settings]
    if plan.patches:
        yield "Patch", [(patch.name, f"sha256:{patch.sha256[:12]}") for patch in plan.patches]
    yield "Compile", [(str(step.platform), " ".join(step.programs), _tags(step)) for step in plan.compiles] or [("nothing",)]
    if plan.artifacts:
        yield (
            "Fetch",
            [
                (a.name, str(a.platform), _KINDS[type(a)], redact_url(a.location), f"sha256:{a.sha256[:12]}")
                for a in plan.artifacts
            ],
        )


def _go(plan: Plan) -> str:
    """`Go 1.25.0 (go.mod says 1.25.0), `; an image that does not tell its version is its own reason."""
    if not plan.go_version:
        return f"{plan.go_reason}, " if plan.go_reason else ""
    return f"Go {plan.go_version} ({plan.go_reason}), " if plan.go_reason else f"Go {plan.go_version}, "


def _image_lines(image: ImagePlan) -> list[str]:
    platforms = ", ".join(str(platform.platform) for platform in image.platforms)
    if image.base is None:
        lines = [f"  {image.image}, {platforms}"]
        roots = [step for platform in image.platforms for step in platform.roots]
        lines += [f"    of     {counted(len(step.packages), 'package')} for {step.platform}: {step.sources[0]}" for step in roots]
    else:
        lines = [f"  {image.image} ({image.variant}), {platforms}", f"    from   {image.base.reference}"]
    first = image.platforms[0]
    lines += [f"    {file.mode}   {file.path}  {_origin(file.origin)}".rstrip() for file in first.files]
    users = [user for step in first.accounts for user in step.users]
    lines += [f"    user   {user.name} ({user.uid}:{user.gid})  {user.home}" for user in users]
    return [*lines, *(f"    push   {reference}" for reference in image.references)]


def _mirror_lines(mirror: MirrorPlan) -> list[str]:
    platforms = ", ".join(str(platform) for platform in mirror.platforms)
    lines = [f"  {mirror.image}, a copy with every platform, {platforms} among them", f"    of     {mirror.source}"]
    return [*lines, *(f"    push   {reference}" for reference in mirror.references)]


def _origin(origin: object) -> str:
    return f"({origin})" if not isinstance(origin, CompiledFile) else ""


def _tags(step: CompileStep) -> str:
    return f"-tags={','.join(step.command.tags)}" if step.command.tags else "no tags"


def _plain(value: Any) -> Any:  # noqa: ANN401 - walks any of the plan's values
    """Frozen values as JSON values: names of things as their text, mappings kept as tuples of pairs become objects."""
    if isinstance(value, LockedArtifact):
        return {
            "name": value.name,
            "platform": str(value.platform),
            "url": redact_url(value.location),
            "sha256": value.sha256,
            "member": value.member,
            "kind": _KINDS[type(value)],
        }
    if isinstance(value, CompileStep):
        return {
            "key": value.key,
            "platform": str(value.platform),
            "argv": list(value.command.argv()),
            "env": dict(value.env),
            "packages": list(value.command.packages),
            "container": value.container,
        }
    if isinstance(value, Rootfs):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, Platform | Digest | ImageReference | Repository | Hub):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: dict(getattr(value, field.name)) if field.type == _PAIRS else _plain(getattr(value, field.name))
            for field in fields(value)
        }
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value
