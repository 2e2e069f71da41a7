"""Builds images: compiles, fetches and assembles side by side, each image on each platform as soon as its files are there.

This is the one place where work overlaps. Every task waits for the futures it needs, so the order is the plan's.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.build.assemble import AssembledPlatform, Assembler
from builder.build.built import Built, Failure
from builder.build.compile import Programs, compile_apart, compile_programs
from builder.build.context import BuildContext
from builder.build.fetch import fetch_artifact, fetch_package
from builder.build.layer_fetch import BaseLayers
from builder.build.mirror import mirror_image
from builder.errors import BuilderError
from builder.images.check import check_index
from builder.images.file import fetch_from_image
from builder.images.layers import fetch_layers
from builder.images.layout_notes import LayoutNotes
from builder.oci.image_config import BaseImage
from builder.oci.layout import Layout, compose_layout
from builder.oci.manifest import Descriptor
from builder.oci.reference import Digest, Platform
from builder.plan.lock import ImageArtifact, LockedArtifact
from builder.plan.model import CompiledFile, CompileStep, FetchedFile, ImagePlan, MirrorPlan, Plan, PlannedFile, SourceFile
from builder.plan.rootfs_step import RootfsStep
from builder.plan.users_step import UsersStep
from builder.rootfs.bootstrap import MadeRootfs, make_rootfs
from builder.rootfs.useradd import write_users_layer
from builder.runtime.concurrency import finish_all, finish_or_end
from builder.runtime.text import counted
from builder.runtime.tree_links import find_file

_INTERRUPTED = "interrupted; nothing was tagged"
# Packages that are fetched at a time.
_DOWNLOADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Underway:
    """What images are made of, while it is made. Implements `assemble.Material`: whoever asks waits."""

    tree: Path
    fetched: Mapping[LockedArtifact, Future[Path]]
    compiled: Mapping[str, Future[Programs]]
    roots: Mapping[RootfsStep, Future[MadeRootfs]]
    users: Mapping[UsersStep, Future[Path]]
    bases: BaseLayers

    def file(self, file: PlannedFile) -> Path:
        """See `Material.file`."""
        match file.origin:
            case CompiledFile(step=step, program=program):
                return self.compiled[step].result().path(program)
            case FetchedFile(artifact=artifact):
                return self.fetched[artifact].result()
            case SourceFile(source=source):
                return find_file(self.tree, source)

    def rootfs(self, step: RootfsStep) -> Path:
        """See `Material.rootfs`."""
        return self.roots[step].result().archive

    def accounts(self, step: UsersStep) -> Path:
        """See `Material.accounts`."""
        return self.users[step].result()

    def base_layer(self, base: BaseImage, layer: Descriptor) -> Path:
        """See `Material.base_layer`."""
        return self.bases.fetch(base.reference.repository, layer)

    def futures(self) -> list[Future[Any]]:
        """All of it."""
        return [*self.fetched.values(), *self.compiled.values(), *self.roots.values(), *self.users.values()]


@dataclass(frozen=True, slots=True)
class _Assembling:
    """A task that assembles the variants of one image on one platform."""

    group: Sequence[ImagePlan]
    platform: Platform
    future: Future[tuple[AssembledPlatform, ...]]


def build_images(
    plan: Plan, images: Sequence[ImagePlan], layouts: Path, context: BuildContext, mirrors: Sequence[MirrorPlan] = ()
) -> Built:
    """Build these images of the plan and copy these mirrors, each to a checked layout in a directory below `layouts`.

    One that fails does not keep the others from being made, unless the context says so: then the first task that fails ends
    the others, and its error is raised. So it is where something fails that all need, such as the engine.
    """
    if not images and not mirrors:
        return Built(layouts={})
    steps = _needed_steps(plan, images)
    artifacts = _needed_artifacts(images)
    groups = _group_by_image(images)
    steps_of_roots, steps_of_users = _rootfs_steps(images), _users_steps(images)
    workers = 1 + len(plan.platforms) + len(artifacts) + len(groups) * len(plan.platforms) + len(mirrors)
    workers += len(steps_of_users)
    workers += len(steps_of_roots) + _DOWNLOADS if steps_of_roots else 0
    with ThreadPoolExecutor(max_workers=workers) as pool:
        ready = pool.submit(context.engine.prepare if images else lambda: None)
        copied = {mirror.key: pool.submit(_mirror, mirror, plan, layouts, context) for mirror in mirrors}
        underway = _Underway(
            tree=context.tree,
            fetched={artifact: pool.submit(_fetch, artifact, context) for artifact in artifacts},
            compiled=_submit_compiles(steps, context, pool),
            roots=_submit_roots(steps_of_roots, context, pool),
            users={step: pool.submit(_add_users, step, context) for step in steps_of_users},
            bases=BaseLayers(context),
        )
        tasks = [
            _Assembling(group, platform, pool.submit(_assemble, plan, group, platform, ready, underway, context))
            for platform in plan.platforms
            for group in groups
            # A shard may have an image on one platform and others on two; variants always are together.
            if any(on.platform == platform for on in group[0].platforms)
        ]
        every: list[Future[Any]] = [ready, *underway.futures(), *copied.values(), *(task.future for task in tasks)]
        _finish(every, ready, context)
    return _collect(plan, images, tasks, copied, layouts)


def _finish(every: Sequence[Future[Any]], ready: Future[None], context: BuildContext) -> None:
    """Wait for all tasks, or as the context says for the first that fails. Nothing can be assembled without an engine."""
    if context.fail_fast:
        finish_or_end(every, context.cancellation, _INTERRUPTED)
    else:
        finish_all(every, (ready,), context.cancellation, _INTERRUPTED)


def _collect(
    plan: Plan,
    images: Sequence[ImagePlan],
    tasks: Sequence[_Assembling],
    copied: Mapping[str, Future[Layout]],
    into: Path,
) -> Built:
    """What the tasks have made, composed, and what failed."""
    failures = [
        Failure(key=image.key, platform=task.platform, error=error)
        for task in tasks
        for image in task.group
        if isinstance(error := task.future.exception(), BuilderError)
    ]
    failures += [
        Failure(key=key, platform=None, error=error)
        for key, copy in copied.items()
        if isinstance(error := copy.exception(), BuilderError)
    ]
    failed = {failure.key for failure in failures}
    parts = [part for task in tasks if not task.future.exception() for part in task.future.result()]
    layouts = {image.key: _compose(image, plan, parts, into) for image in images if image.key not in failed}
    layouts |= {key: copy.result() for key, copy in copied.items() if key not in failed}
    made: list[tuple[str, Platform | None]] = [(part.key, part.platform) for part in parts]
    made += [(key, None) for key in copied if key not in failed]
    return Built(layouts=layouts, made=tuple(made), failures=tuple(failures))


def _needed_steps(plan: Plan, images: Sequence[ImagePlan]) -> tuple[CompileStep, ...]:
    """The compile steps of these images alone, with no program that none of them holds."""
    programs = {(file.origin.step, file.origin.program) for file in _files(images) if isinstance(file.origin, CompiledFile)}
    steps = []
    for step in plan.compiles:
        kept = tuple(package for program, package in step.mains if (step.key, program) in programs)
        if kept:
            steps.append(replace(step, command=replace(step.command, packages=kept)))
    return tuple(steps)


def _needed_artifacts(images: Sequence[ImagePlan]) -> tuple[LockedArtifact, ...]:
    found = [file.origin.artifact for file in _files(images) if isinstance(file.origin, FetchedFile)]
    return tuple(dict.fromkeys(found))


def _files(images: Sequence[ImagePlan]) -> list[PlannedFile]:
    return [file for image in images for platform in image.platforms for file in platform.files]


def _group_by_image(images: Sequence[ImagePlan]) -> list[list[ImagePlan]]:
    """The variants of an image hold the same files, so the engine gets them together."""
    groups: dict[str, list[ImagePlan]] = {}
    for image in images:
        groups.setdefault(image.image, []).append(image)
    return list(groups.values())


def _submit_compiles(
    steps: Sequence[CompileStep], context: BuildContext, pool: ThreadPoolExecutor
) -> dict[str, Future[Programs]]:
    """Platforms side by side; the steps of one platform one after the other, as each `go build` uses all cores.

    None has precedence: where the first platform went ahead, the other one linked alone in the end, on the one core that a
    linker mostly uses, and all took a tenth longer (measured on pilot 1.29, two cores).
    """
    compiled: dict[str, Future[Programs]] = {}
    before: dict[Platform, Future[Programs]] = {}
    for step in steps:
        compiled[step.key] = pool.submit(_compile, step, before.get(step.platform), context)
        before[step.platform] = compiled[step.key]
    return compiled


def _compile(step: CompileStep, after: Future[Programs] | None, context: BuildContext) -> Programs:
    if after:
        # Whether it failed or not: this one may be another program's.
        wait((after,))
    context.cancellation.check()
    if context.fail_fast:
        return Programs(paths=compile_programs(step, context), failures={})
    return compile_apart(step, context)


def _fetch(artifact: LockedArtifact, context: BuildContext) -> Path:
    with context.progress.task("fetch", f"{artifact.name} {artifact.platform}") as task:
        match artifact:
            case ImageArtifact():
                return fetch_from_image(artifact, context.downloads, context.registry, task)
            case _:
                return fetch_artifact(artifact, context.downloads, context.downloader, task)


def _rootfs_steps(images: Sequence[ImagePlan]) -> list[RootfsStep]:
    return [step for image in images for platform in image.platforms for step in platform.roots]


def _submit_roots(
    steps: Sequence[RootfsStep], context: BuildContext, pool: ThreadPoolExecutor
) -> dict[RootfsStep, Future[MadeRootfs]]:
    """Packages first, each once: images share most of theirs, and platforms those that are for all."""
    packages = {package.sha256: package for step in steps for package in step.packages}
    fetched = {
        sha256: pool.submit(fetch_package, package, context.downloads, context.downloader) for sha256, package in packages.items()
    }
    return {step: pool.submit(_make_rootfs, step, fetched, context) for step in steps}


def _make_rootfs(step: RootfsStep, fetched: Mapping[str, Future[Path]], context: BuildContext) -> MadeRootfs:
    with context.progress.task("unpack", f"{step.image} {step.platform}") as task:
        task.detail(f"downloading {counted(len(step.packages), 'package')}")
        packages = [fetched[package.sha256].result() for package in step.packages]
        return make_rootfs(step, packages, context.work / "rootfs" / f"{step.key}.tar", task.detail)


def _users_steps(images: Sequence[ImagePlan]) -> list[UsersStep]:
    """Each once: variants on one base share it."""
    return list(dict.fromkeys(step for image in images for platform in image.platforms for step in platform.accounts))


def _add_users(step: UsersStep, context: BuildContext) -> Path:
    names = ", ".join(user.name for user in step.users)
    with context.progress.task("users", f"{names} {step.platform}") as task:
        layers = fetch_layers(step.base, context.downloads, context.registry, task)
        archive = context.work / "users" / f"{Digest.of(repr(step.identity()).encode()).hex}.tar"
        write_users_layer(layers, step.users, step.mtime, archive)
        return archive


def _mirror(mirror: MirrorPlan, plan: Plan, layouts: Path, context: BuildContext) -> Layout:
    with context.progress.task("mirror", mirror.image) as task:
        return mirror_image(mirror, layouts / mirror.key, LayoutNotes.of_mirror(mirror, plan).to_json(), context, task)


def _assemble(
    plan: Plan,
    group: Sequence[ImagePlan],
    platform: Platform,
    ready: Future[None],
    underway: _Underway,
    context: BuildContext,
) -> tuple[AssembledPlatform, ...]:
    ready.result()
    here = [image for variant in group for image in variant.platforms if image.platform == platform]
    # Wait for everything first, so that the task shows the time it took and not the time it waited.
    for file in (file for image in here for file in image.files):
        underway.file(file)
    wait([underway.users[step] for image in here for step in image.accounts])
    newest = [underway.roots[step].result().newest for image in here for step in image.roots]
    assembler = Assembler(
        engine=context.engine,
        material=underway,
        work=context.work,
        compression=plan.compression,
        read_layer=context.read_layer,
        sum_file=context.sum_file,
        jobs=context.jobs,
        whole=context.whole,
    )
    with context.progress.task("assemble", f"{group[0].image} {platform}") as task:
        parts = assembler.assemble(group, platform, newest[0] if newest else plan.source_date_epoch, task.detail)
    for part in parts:
        context.on_assembled(part)
    return parts


def _compose(image: ImagePlan, plan: Plan, parts: Sequence[AssembledPlatform], layouts: Path) -> Layout:
    own = {part.platform: part.layout for part in parts if part.key == image.key}
    layout = compose_layout(own, layouts / image.key, dict(image.annotations), LayoutNotes.of(image, plan).to_json())
    check_index(image, layout)
    return layout
