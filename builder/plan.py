"""The plan: everything a run will do, decided before any of it happens. Pure: no clock, environment, disk or network."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from builder import __version__
from builder.accounts import User
from builder.compile_plan import CompileStep, check_go, plan_compiles, platform_values
from builder.errors import RecipeError, RequestError
from builder.istio_release import IstioRelease
from builder.layer_format import FORMATS
from builder.lock import Lock, LockedArtifact, LockedBase, LockedMirror, SourceFacts
from builder.recipe import ArtifactFile, Binary, ImageRecipe, ReleaseRecipe, TreeDirectory, TreeFile
from builder.recipe_book import RecipeBook
from builder.reference import Digest, Hub, ImageReference, Platform, parse_tag
from builder.render import render_dockerfile, render_text
from builder.request import Request
from builder.rootfs_step import RootfsStep
from builder.users_step import UsersStep

FINGERPRINT_ANNOTATION = "dev.istio-build.inputs"
# Files that somebody else built keep one time whatever commit we build, so their layer is shared by all releases that
# pin them and is not uploaded again; 0 is what Bazel gives them, too.
_ARTIFACT_TIME = 0
# /etc/default/useradd of Debian and Ubuntu.
_LOGIN_SHELL = "/bin/sh"
# What BuildKit takes for PATH where the base image has none (util/system/path.go).
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFile:
    """A program that a compile step makes."""

    step: str
    program: str

    def __str__(self) -> str:
        return f"go build {self.program}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of Istio's tree."""

    source: str

    def __str__(self) -> str:
        return self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """A downloaded file."""

    artifact: LockedArtifact

    def __str__(self) -> str:
        return f"{self.artifact.name} sha256:{self.artifact.sha256[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file of an image: where it comes from, where it goes, its mode bits, its time in seconds since 1970."""

    origin: CompiledFile | SourceFile | FetchedFile
    path: str
    mode: str
    mtime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """A layer: the name of its tar in the build context, and what is in it: files, a whole root file system, or users."""

    archive: str
    files: tuple[PlannedFile, ...] = ()
    rootfs: RootfsStep | None = None
    users: UsersStep | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformImage:
    """An image on one platform."""

    platform: Platform
    dockerfile: str
    layers: tuple[PlannedLayer, ...]
    labels: tuple[tuple[str, str], ...]
    env: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """An image in one variant, on every platform; `references` are all the tags it will get.

    An image that is made of packages has neither a variant nor a base.
    """

    image: str
    variant: str
    base: LockedBase | None
    user: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    workdir: str
    platforms: tuple[PlatformImage, ...]
    annotations: tuple[tuple[str, str], ...]
    references: tuple[ImageReference, ...]
    is_default: bool

    @property
    def key(self) -> str:
        """`pilot-distroless`, or `base`."""
        return f"{self.image}-{self.variant}" if self.variant else self.image

    @property
    def fingerprint(self) -> str:
        """The sha256 of everything that decides the image's bytes."""
        return dict(self.annotations)[FINGERPRINT_ANNOTATION]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorPlan:
    """An image that is copied as it is. `platforms` are those that it must have; `fixed_tags` are no `--tag`'s."""

    image: str
    source: ImageReference
    platforms: tuple[Platform, ...]
    variants: tuple[tuple[str, bool], ...]
    fixed_tags: tuple[str, ...]
    references: tuple[ImageReference, ...]

    @property
    def key(self) -> str:
        """The image's name: its variants are one image."""
        return self.image

    @property
    def digest(self) -> Digest:
        """The digest that it has at its source, and is to have at the hubs."""
        assert self.source.digest is not None
        return self.source.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One release: all images of a run."""

    version: str
    hub: str
    commit: str
    go_version: str
    go_reason: str
    compile_image: str
    source_date_epoch: int
    compression: str
    platforms: tuple[Platform, ...]
    compiles: tuple[CompileStep, ...]
    artifacts: tuple[LockedArtifact, ...]
    images: tuple[ImagePlan, ...]
    mirrors: tuple[MirrorPlan, ...] = ()

    @property
    def everything(self) -> tuple[ImagePlan | MirrorPlan, ...]:
        """All that goes to the hubs, built or copied."""
        return (*self.images, *self.mirrors)


def select_images(request: Request, book: RecipeBook) -> tuple[tuple[ImageRecipe, tuple[str, ...]], ...]:
    """The recipes asked for, each with its variants. Raises RequestError, with the nearest name, for unknown ones."""
    recipes = book.chosen(request.images)
    known = sorted({variant for recipe in book.images for variant in recipe.variants})
    for variant in request.variants:
        if variant not in known:
            raise RequestError(f"there is no variant {variant!r}", hint=f"Known variants: {', '.join(known)}.")
    chosen = []
    for recipe in recipes:
        variants = tuple(name for name in recipe.variants if not request.variants or name in request.variants)
        if recipe.variants and not variants:
            # Of `--image all --variant distroless`, what has no such variant is simply not meant.
            if request.images and recipe.image not in request.images:
                continue
            raise RequestError(
                f"image {recipe.image} has no variant {' or '.join(request.variants)}",
                hint=f"It has {', '.join(recipe.variants)}.",
            )
        chosen.append((recipe, variants))
    return tuple(chosen)


def choose_version(request: Request, source: SourceFacts) -> str:
    """The version stamped into the programs: the first tag asked for, else the release tag at a clean HEAD."""
    if request.tags:
        return request.tags[0]
    if source.state.tag and not source.state.dirty:
        return _as_tag(source.state.tag)
    return f"{source.version}-dev-{source.state.commit[:10]}{'-dirty' if source.state.dirty else ''}"


def _as_tag(git_tag: str) -> str:
    """Git allows more in a tag than a registry does: `release/1.29`, `1.29.0+corp`."""
    try:
        return parse_tag(git_tag)
    except RequestError as error:
        raise RequestError(
            f"the source's git tag {git_tag!r} is no image tag", hint=f"Give one with --tag. {error.hint}"
        ) from error


def recipe_values(request: Request, release: ReleaseRecipe, source: SourceFacts) -> dict[str, Any]:
    """The names that expressions in recipes may use."""
    state = source.state
    version = choose_version(request, source)
    return {
        "version": version,
        "tag": version,
        "hub": str(request.hubs[0]),
        "release": state.tag if IstioRelease.parse(state.tag) else str(source.release),
        "commit": state.commit,
        "revision": f"{state.commit}-dirty" if state.dirty else state.commit,
        "status": "Modified" if state.modified else "Clean",
        "description": state.description,
        "base_registry": request.base_registry or release.base_registry,
        "base_version": source.base_version,
        "built_bases": request.build_bases,
        "dependencies": dict(source.dependencies),
        "pins": dict(source.pins),
    }


def make_plan(request: Request, book: RecipeBook, lock: Lock) -> Plan:
    """Decide everything. Raises RequestError, RecipeError and ToolchainError."""
    values = recipe_values(request, book.release, lock.source)
    chosen = select_images(request, book)
    compiles = _plan_compiles(request, book, lock, values, tuple(recipe for recipe, _ in chosen))
    images = tuple(
        _plan_image(request, book, lock, values, compiles, recipe, variant)
        for recipe, variants in chosen
        for variant in variants
        if not recipe.mirror
    )
    mirrors = tuple(
        _plan_mirror(request, book, lock.mirror(recipe.image), values, recipe, variants)
        for recipe, variants in chosen
        if recipe.mirror
    )
    images += tuple(_plan_rootfs_image(request, book, lock, values, recipe) for recipe, _ in chosen if recipe.rootfs)
    if compiles:
        check_go(request, lock)
    _check_references((*images, *mirrors))
    return Plan(
        version=values["version"],
        hub=values["hub"],
        commit=lock.source.state.commit,
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
    )


def _check_references(images: tuple[ImagePlan | MirrorPlan, ...]) -> None:
    """With the tags `1` and `1-distroless`, the plain tag of one variant would be the other variant's own."""
    owners: dict[ImageReference, str] = {}
    for image in images:
        for reference in image.references:
            if owners.setdefault(reference, image.key) != image.key:
                raise RequestError(
                    f"{reference} would be the tag of both {owners[reference]} and {image.key}",
                    hint="Each variant gets TAG-VARIANT besides; leave out the --tag that ends in a variant's name.",
                )


def _plan_compiles(
    request: Request, book: RecipeBook, lock: Lock, values: Mapping[str, Any], recipes: tuple[ImageRecipe, ...]
) -> tuple[CompileStep, ...]:
    used: dict[str, dict[str, str]] = {}
    for recipe in recipes:
        for binary in recipe.binaries:
            programs = used.setdefault(binary.tags, {})
            name = PurePosixPath(binary.main).name
            if programs.setdefault(name, binary.main) != binary.main:
                raise RecipeError(
                    f"{book.origin(recipe.image)}: {binary.main} and {programs[name]} would both make {name}",
                    hint="Give one of them another tag set.",
                )
    packages = {tag_set: tuple(sorted(programs.values())) for tag_set, programs in used.items()}
    return plan_compiles(request, book, lock, values, request.platforms, packages)


def _plan_image(
    request: Request,
    book: RecipeBook,
    lock: Lock,
    values: Mapping[str, Any],
    compiles: tuple[CompileStep, ...],
    recipe: ImageRecipe,
    variant: str,
) -> ImagePlan:
    base = lock.base(recipe.variants[variant].base)
    is_default = variant == book.release.default_variant
    platforms = tuple(
        _plan_platform(book, _plan_layers(recipe, lock, base, platform), values, recipe, base, platform)
        for platform in request.platforms
    )
    plan = ImagePlan(
        image=recipe.image,
        variant=variant,
        base=base,
        user=recipe.user,
        entrypoint=recipe.entrypoint,
        command=recipe.command,
        workdir=recipe.workdir,
        platforms=platforms,
        annotations=_annotations(recipe, values, lock, base),
        references=image_references(
            request.hubs, request.tags or (values["version"],), recipe.image, variant, is_default=is_default
        ),
        is_default=is_default,
    )
    fingerprint = _fingerprint(plan, base, lock, compiles, request.compression)
    return replace(plan, annotations=tuple(sorted((*plan.annotations, (FINGERPRINT_ANNOTATION, fingerprint)))))


def _plan_mirror(
    request: Request,
    book: RecipeBook,
    lock: LockedMirror,
    values: Mapping[str, Any],
    recipe: ImageRecipe,
    variants: tuple[str, ...],
) -> MirrorPlan:
    origin = book.origin(recipe.image)
    fixed = tuple(parse_tag(render_text(tag, values, f"{origin}: tags")) for tag in recipe.tags)
    named = tuple((variant, variant == book.release.default_variant) for variant in variants)
    tags = request.tags or (values["version"],)
    return MirrorPlan(
        image=recipe.image,
        source=lock.source,
        platforms=request.platforms,
        variants=named,
        fixed_tags=fixed,
        references=mirror_references(request.hubs, tags, recipe.image, named, fixed),
    )


def _plan_rootfs_image(
    request: Request, book: RecipeBook, lock: Lock, values: Mapping[str, Any], recipe: ImageRecipe
) -> ImagePlan:
    """Nothing of Istio's commit is in it, so that it stays what it is until its packages or its recipe change."""
    origin = book.origin(recipe.image)
    tags = tuple(parse_tag(render_text(tag, values, f"{origin}: tags")) for tag in recipe.tags)
    steps = [_plan_rootfs(lock, recipe, platform) for platform in request.platforms]
    layers = {step.platform: (PlannedLayer(archive="1-rootfs.tar", rootfs=step),) for step in steps}
    plan = ImagePlan(
        image=recipe.image,
        variant="",
        base=None,
        user=recipe.user,
        entrypoint=recipe.entrypoint,
        command=recipe.command,
        workdir=recipe.workdir,
        platforms=tuple(_plan_platform(book, layers[platform], values, recipe, None, platform) for platform in layers),
        annotations=(("org.opencontainers.image.title", recipe.image),),
        references=mirror_references(request.hubs, (), recipe.image, (), tags),
        is_default=False,
    )
    inputs = {
        "tool": __version__,
        "compression": FORMATS[request.compression],
        "annotations": plan.annotations,
        "platforms": [[platform.dockerfile, step.identity()] for platform, step in zip(plan.platforms, steps, strict=True)],
    }
    return replace(plan, annotations=((FINGERPRINT_ANNOTATION, _sum(inputs)), *plan.annotations))


def _plan_rootfs(lock: Lock, recipe: ImageRecipe, platform: Platform) -> RootfsStep:
    assert recipe.rootfs is not None
    locked = lock.packages_of(recipe.image, platform)
    return RootfsStep(
        image=recipe.image, platform=platform, packages=locked.packages, sources=locked.sources, rootfs=recipe.rootfs
    )


def _plan_platform(
    book: RecipeBook,
    layers: tuple[PlannedLayer, ...],
    values: Mapping[str, Any],
    recipe: ImageRecipe,
    base: LockedBase | None,
    platform: Platform,
) -> PlatformImage:
    here = {**values, **platform_values(platform)}
    origin = book.origin(recipe.image)
    base_env = {"PATH": _DEFAULT_PATH, **(dict(base.on(platform).config.env) if base else {})}
    for_env = {**here, "base_env": base_env}
    env = tuple((name, render_text(value, for_env, f"{origin}: env.{name}")) for name, value in recipe.env.items())
    labels = tuple((name, render_text(value, here, f"{origin}: labels.{name}")) for name, value in recipe.labels.items())
    values_for_template = {
        "name": recipe.image,
        "base": str(base.reference) if base else "scratch",
        "layers": layers,
        "user": recipe.user,
        "workdir": recipe.workdir,
        "entrypoint": recipe.entrypoint,
        "command": recipe.command,
        "env": env,
        "labels": labels,
    }
    dockerfile = render_dockerfile(dict(book.templates), recipe.template, values_for_template)
    return PlatformImage(platform=platform, dockerfile=dockerfile, layers=layers, labels=labels, env=env)


def _plan_layers(recipe: ImageRecipe, lock: Lock, base: LockedBase, platform: Platform) -> tuple[PlannedLayer, ...]:
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
        PlannedLayer(archive=f"{number}-{PurePosixPath(path).name}.tar", files=files)
        for number, (path, files) in enumerate(contents, start=1)
    )
    return (*layers, _plan_users(recipe, base, platform, committed_at, len(layers) + 1)) if recipe.users else layers


def _plan_users(recipe: ImageRecipe, base: LockedBase, platform: Platform, mtime: int, number: int) -> PlannedLayer:
    """The last layer, so that a home is its user's whatever lies in it; named after its base, which it depends on."""
    users = tuple(
        User(name=user.name, uid=user.uid, gid=user.uid, home=user.home or f"/home/{user.name}", shell=_LOGIN_SHELL)
        for user in recipe.users
    )
    manifest = base.reference.repository.at(base.on(platform).manifest)
    step = UsersStep(base=manifest, platform=platform, users=users, mtime=mtime)
    return PlannedLayer(archive=f"{number}-users-{base.name}.tar", users=step)


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


def _annotations(recipe: ImageRecipe, values: Mapping[str, Any], lock: Lock, base: LockedBase) -> tuple[tuple[str, str], ...]:
    created = datetime.fromtimestamp(lock.source.state.committed_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        ("org.opencontainers.image.base.digest", str(base.digest)),
        ("org.opencontainers.image.created", created),
        ("org.opencontainers.image.revision", values["revision"]),
        ("org.opencontainers.image.title", recipe.image),
        ("org.opencontainers.image.version", values["version"]),
    )


def image_references(
    hubs: tuple[Hub, ...], tags: tuple[str, ...], image: str, variant: str, *, is_default: bool
) -> tuple[ImageReference, ...]:
    """All tags of a variant as Istio sets them: `TAG-variant`, and before it the plain `TAG` for the default one.

    Raises RequestError where a tag gets too long with the variant behind it.
    """
    own = [name for tag in tags for name in _tags_of_variant(tag, variant, is_default=is_default)]
    return tuple(hub.repository(image).at(parse_tag(tag)) for hub in dict.fromkeys(hubs) for tag in dict.fromkeys(own))


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
        return tuple(hub.repository(image).at(parse_tag(tag)) for hub in dict.fromkeys(hubs) for tag in own)
    found = [
        reference
        for variant, is_default in variants
        for reference in image_references(hubs, tags, image, variant, is_default=is_default)
    ]
    return tuple(dict.fromkeys(found))


def _fingerprint(plan: ImagePlan, base: LockedBase, lock: Lock, compiles: tuple[CompileStep, ...], compression: str) -> str:
    """The sha256 over everything that decides the image's bytes: no reference, host or path of a machine among it."""
    files = [file for platform in plan.platforms for layer in platform.layers for file in layer.files]
    used = {file.origin.step for file in files if isinstance(file.origin, CompiledFile)}
    mains = {(step.key, program): main for step in compiles for program, main in zip(step.programs, step.packages, strict=True)}
    inputs = {
        "tool": __version__,
        "compression": FORMATS[compression],
        "source": lock.source.state.content,
        "go": lock.go.version if used else "",
        # Without the packages: which other programs are compiled beside ours does not change ours.
        "compiles": [
            [step.key, step.argv[: -len(step.packages)], step.env, *([step.container] if step.container else [])]
            for step in compiles
            if step.key in used
        ],
        "annotations": plan.annotations,
        "base": [[str(entry.platform), str(entry.manifest)] for entry in base.platforms],
        "platforms": [
            [
                str(platform.platform),
                platform.dockerfile.replace(str(base.reference), str(base.digest)),
                [[_identify(file, mains), file.path, file.mode, file.mtime] for layer in platform.layers for file in layer.files],
                *(layer.users.identity() for layer in platform.layers if layer.users),
            ]
            for platform in plan.platforms
        ],
    }
    return _sum(inputs)


def _sum(inputs: Mapping[str, Any]) -> str:
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return Digest("sha256:" + hashlib.sha256(text.encode()).hexdigest()).text


def _identify(file: PlannedFile, mains: Mapping[tuple[str, str], str]) -> str:
    """What decides a file's content: downloads by their sum, wherever they came from (what is taken from an image by the
    manifest and the path there); the rest by commit and command."""
    if isinstance(file.origin, CompiledFile):
        return f"{file.origin.step} {mains[file.origin.step, file.origin.program]}"
    if isinstance(file.origin, FetchedFile):
        return f"{file.origin.artifact.sha256} {file.origin.artifact.member}"
    return str(file.origin)
