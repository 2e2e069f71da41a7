"""The plan: everything a run will do, decided before any of it happens. Pure: no clock, environment, disk or network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from builder.config.counted_tag import parse_uncounted
from builder.config.request import Request
from builder.errors import RecipeError
from builder.oci.reference import Platform
from builder.plan.compile import check_go, plan_compiles
from builder.plan.fingerprint import identify_platform, identify_rootfs
from builder.plan.lock import Lock, LockedBase
from builder.plan.made import what_it_is_made_with
from builder.plan.model import (
    DEBUG_ANNOTATION,
    PATCHES_ANNOTATION,
    REVISION_ANNOTATION,
    VERSION_ANNOTATION,
    AccountsLayer,
    CompiledFile,
    CompileStep,
    FetchedFile,
    FilesLayer,
    ImagePlan,
    MirrorPlan,
    Plan,
    PlannedFile,
    PlannedLayer,
    PlatformImage,
    RootfsLayer,
    SourceFile,
)
from builder.plan.noted import bound_notes, note_image, note_recipe, note_rootfs, note_settings, seal
from builder.plan.rendered import render_bare, render_image
from builder.plan.rootfs_step import RootfsStep
from builder.plan.selection import platform_values, recipe_values, select_images
from builder.plan.tags import check_references, image_references, mirror_references
from builder.plan.user import User
from builder.plan.users_step import UsersStep
from builder.recipe.book import RecipeBook
from builder.recipe.schema import (
    ArtifactFile,
    AssembledImage,
    Binary,
    BuiltImage,
    Mirror,
    RootfsImage,
    TreeDirectory,
    TreeFile,
)
from builder.recipe.template import render_text

# Files that somebody else built keep one time whatever commit we build, so their layer is shared by all releases that
# pin them and is not uploaded again; 0 is what Bazel gives them, too.
_ARTIFACT_TIME = 0
# /etc/default/useradd of Debian and Ubuntu.
_LOGIN_SHELL = "/bin/sh"
# What BuildKit takes for PATH where the base image has none (util/system/path.go).
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """All that a plan depends on; `values` are those of expressions."""

    request: Request
    book: RecipeBook
    lock: Lock
    values: Mapping[str, Any]


def make_plan(request: Request, book: RecipeBook, lock: Lock) -> Plan:
    """Decide everything. Raises RequestError, RecipeError and ToolchainError."""
    values = recipe_values(request, book.release, lock.source)
    inputs = _Inputs(request=request, book=book, lock=lock, values=values)
    chosen = select_images(request, book)
    built = [(recipe, variants) for recipe, variants in chosen if isinstance(recipe, BuiltImage)]
    compiles = _plan_compiles(inputs, [recipe for recipe, _ in built])
    images = tuple(_plan_image(inputs, compiles, recipe, variant) for recipe, variants in built for variant in variants)
    images += tuple(_plan_rootfs_image(inputs, recipe) for recipe, _ in chosen if isinstance(recipe, RootfsImage))
    mirrors = tuple(_plan_mirror(inputs, recipe, variants) for recipe, variants in chosen if isinstance(recipe, Mirror))
    if compiles:
        check_go(request, lock)
    check_references((*images, *mirrors))
    return Plan(
        version=values["version"],
        hub=values["hub"],
        commit=lock.source.state.commit,
        source_tag=lock.source.release_tag,
        go_version=lock.go.version,
        go_reason=lock.go.reason,
        compile_image=str(lock.go.image or ""),
        source_date_epoch=lock.source.state.committed_at,
        compression=request.compression,
        platforms=request.platforms,
        compiles=compiles,
        artifacts=lock.artifacts,
        images=images,
        mirrors=mirrors,
        made=what_it_is_made_with(request, book, lock, (*images, *mirrors)),
        patches=lock.source.patches,
    )


def _plan_compiles(inputs: _Inputs, recipes: Sequence[BuiltImage]) -> tuple[CompileStep, ...]:
    used: dict[str, dict[str, str]] = {}
    for recipe in recipes:
        for binary in recipe.binaries:
            programs = used.setdefault(binary.tags, {})
            name = PurePosixPath(binary.main).name
            if programs.setdefault(name, binary.main) != binary.main:
                raise RecipeError(
                    f"{inputs.book.origin(recipe.image)}: {binary.main} and {programs[name]} would both make {name}",
                    hint="Give one of them another tag set.",
                )
    packages = {tag_set: tuple(sorted(programs.values())) for tag_set, programs in used.items()}
    request = inputs.request
    return plan_compiles(request, inputs.book, inputs.lock, inputs.values, request.platforms, packages)


def _plan_image(inputs: _Inputs, compiles: tuple[CompileStep, ...], recipe: BuiltImage, variant: str) -> ImagePlan:
    request, book, lock, values = inputs.request, inputs.book, inputs.lock, inputs.values
    base = lock.base(recipe.variants[variant].base)
    is_default = variant == book.release.default_variant
    platforms = tuple(
        _plan_platform(book, _plan_layers(recipe, lock, base, platform), values, recipe, base, platform)
        for platform in request.platforms
    )
    plan = ImagePlan(
        image=recipe.image,
        variant=variant,
        template=recipe.template,
        base=base,
        user=recipe.user,
        entrypoint=recipe.entrypoint,
        command=recipe.command,
        workdir=recipe.workdir,
        platforms=platforms,
        annotations=_annotations(recipe, values, lock, base, debug=_is_debug(request, recipe)),
        references=image_references(request.hubs, _all_tags(inputs), recipe.image, variant, is_default=is_default),
        is_default=is_default,
    )
    shared = {**note_settings(request.compression), **_note_recipe(book, recipe, len(platforms[0].layers))}
    noted = [replace(on, noted=bound_notes({**shared, **note_image(plan, on, base, lock, compiles)})) for on in platforms]
    identified = [replace(on, fingerprint=identify_platform(plan, on, base, lock, compiles, request.compression)) for on in noted]
    return seal(replace(plan, platforms=tuple(identified)))


def _plan_mirror(inputs: _Inputs, recipe: Mirror, variants: tuple[str, ...]) -> MirrorPlan:
    request, book = inputs.request, inputs.book
    fixed = _fixed_tags(inputs, recipe)
    named = tuple((variant, variant == book.release.default_variant) for variant in variants)
    return MirrorPlan(
        image=recipe.image,
        source=inputs.lock.mirror(recipe.image).source,
        platforms=request.platforms,
        variants=named,
        fixed_tags=fixed,
        references=mirror_references(request.hubs, _all_tags(inputs), recipe.image, named, fixed),
    )


def _all_tags(inputs: _Inputs) -> tuple[str, ...]:
    return (*(inputs.request.tags or (inputs.values["version"],)), *inputs.request.moving_tags)


def _fixed_tags(inputs: _Inputs, recipe: Mirror | RootfsImage) -> tuple[str, ...]:
    origin = f"{inputs.book.origin(recipe.image)}: tags"
    return tuple(parse_uncounted(render_text(tag, inputs.values, origin)) for tag in recipe.tags)


def _plan_rootfs_image(inputs: _Inputs, recipe: RootfsImage) -> ImagePlan:
    """Nothing of Istio's commit is in it, so that it stays what it is until its packages or its recipe change."""
    request, book, values = inputs.request, inputs.book, inputs.values
    steps = [_plan_rootfs(inputs.lock, recipe, platform) for platform in request.platforms]
    layers = {step.platform: (RootfsLayer(archive="1-rootfs.tar", rootfs=step),) for step in steps}
    plan = ImagePlan(
        image=recipe.image,
        variant="",
        template=recipe.template,
        base=None,
        user=recipe.user,
        entrypoint=recipe.entrypoint,
        command=recipe.command,
        workdir=recipe.workdir,
        platforms=tuple(_plan_platform(book, layers[platform], values, recipe, None, platform) for platform in layers),
        annotations=(("org.opencontainers.image.title", recipe.image),),
        references=mirror_references(request.hubs, (), recipe.image, (), _fixed_tags(inputs, recipe)),
        is_default=False,
    )
    shared = {**note_settings(request.compression), **_note_recipe(book, recipe, 1)}
    noted = [
        replace(on, noted=bound_notes({**shared, **note_rootfs(step)})) for on, step in zip(plan.platforms, steps, strict=True)
    ]
    identified = [
        replace(on, fingerprint=identify_rootfs(plan, on, step, request.compression))
        for on, step in zip(noted, steps, strict=True)
    ]
    return seal(replace(plan, platforms=tuple(identified)))


def _plan_rootfs(lock: Lock, recipe: RootfsImage, platform: Platform) -> RootfsStep:
    locked = lock.packages_of(recipe.image, platform)
    return RootfsStep(
        image=recipe.image, platform=platform, packages=locked.packages, sources=locked.sources, rootfs=recipe.rootfs
    )


def _plan_platform(
    book: RecipeBook,
    layers: tuple[PlannedLayer, ...],
    values: Mapping[str, Any],
    recipe: AssembledImage,
    base: LockedBase | None,
    platform: Platform,
) -> PlatformImage:
    here = {**values, **platform_values(platform)}
    origin = book.origin(recipe.image)
    base_env = {"PATH": _DEFAULT_PATH, **(dict(base.on(platform).config.env) if base else {})}
    for_env = {**here, "base_env": base_env}
    env = tuple((name, render_text(value, for_env, f"{origin}: env.{name}")) for name, value in recipe.env.items())
    labels = tuple((name, render_text(value, here, f"{origin}: labels.{name}")) for name, value in recipe.labels.items())
    dockerfile = render_image(book.templates, recipe, str(base.reference) if base else "scratch", layers, env, labels)
    return PlatformImage(platform=platform, dockerfile=dockerfile, layers=layers, labels=labels, env=env)


def _note_recipe(book: RecipeBook, recipe: AssembledImage, layers: int) -> dict[str, str]:
    """What of an image comes from its recipe and its template, and not from what was looked up: the same on all platforms."""
    told = recipe.model_dump(mode="json", exclude={"summary", "group", "tags", "variants"})
    return note_recipe(render_bare(book.templates, recipe, layers), told)


def _plan_layers(recipe: BuiltImage, lock: Lock, base: LockedBase, platform: Platform) -> tuple[PlannedLayer, ...]:
    """One layer a file or directory, so that a change of one program leaves the layers of the others as they are."""
    committed_at = lock.source.state.committed_at
    entries: list[tuple[TreeFile | ArtifactFile | Binary, CompiledFile | SourceFile | FetchedFile, int]] = []
    entries += [(file, SourceFile(source=file.source), committed_at) for file in recipe.files]
    entries += [(file, FetchedFile(artifact=lock.artifact(file.artifact, platform)), _ARTIFACT_TIME) for file in recipe.artifacts]
    entries += [
        (
            binary,
            CompiledFile(step=f"{platform.slug}/{binary.tags}", program=PurePosixPath(binary.main).name),
            committed_at,
        )
        for binary in recipe.binaries
    ]
    contents = [_plan_directory(directory, lock) for directory in recipe.directories]
    contents += [
        (entry.path, (PlannedFile(origin=origin, path=entry.path, mode=entry.mode, mtime=mtime),))
        for entry, origin, mtime in entries
    ]
    layers = tuple(
        FilesLayer(archive=f"{number}-{PurePosixPath(path).name}.tar", files=files)
        for number, (path, files) in enumerate(contents, start=1)
    )
    return (*layers, _plan_users(recipe, base, platform, committed_at, len(layers) + 1)) if recipe.users else layers


def _plan_users(recipe: BuiltImage, base: LockedBase, platform: Platform, mtime: int, number: int) -> AccountsLayer:
    """The last layer, so that a home is its user's whatever lies in it; named after its base, which it depends on."""
    users = tuple(
        User(name=user.name, uid=user.uid, gid=user.uid, home=user.home or f"/home/{user.name}", shell=_LOGIN_SHELL)
        for user in recipe.users
    )
    manifest = base.reference.repository.at(base.on(platform).manifest)
    step = UsersStep(base=manifest, platform=platform, users=users, mtime=mtime)
    return AccountsLayer(archive=f"{number}-users-{base.name}.tar", users=step)


def _plan_directory(directory: TreeDirectory, lock: Lock) -> tuple[str, tuple[PlannedFile, ...]]:
    files = tuple(
        PlannedFile(
            origin=SourceFile(source=f"{directory.source}/{name}"),
            path=f"{directory.path}/{name}",
            mode=mode,
            mtime=lock.source.state.committed_at,
        )
        for name, mode in lock.directory(directory.source).files
    )
    return directory.path, files


def _is_debug(request: Request, recipe: BuiltImage) -> bool:
    """Whether something in it is for a debugger."""
    artifacts = {file.artifact for file in recipe.artifacts}
    return (request.go.debug and bool(recipe.binaries)) or not artifacts.isdisjoint(request.debug_artifacts)


def _annotations(
    recipe: BuiltImage, values: Mapping[str, Any], lock: Lock, base: LockedBase, *, debug: bool
) -> tuple[tuple[str, str], ...]:
    created = datetime.fromtimestamp(lock.source.state.committed_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        *(((DEBUG_ANNOTATION, "true"),) if debug else ()),
        *(((PATCHES_ANNOTATION, " ".join(map(str, lock.source.patches))),) if lock.source.patches else ()),
        ("org.opencontainers.image.base.digest", str(base.digest)),
        ("org.opencontainers.image.created", created),
        (REVISION_ANNOTATION, values["revision"]),
        ("org.opencontainers.image.title", recipe.image),
        (VERSION_ANNOTATION, values["version"]),
    )
