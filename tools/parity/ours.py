"""Our side: the plan that istio-build makes of a release, from the real recipes by way of the real code.

Only what would be asked of registries and web servers is made up: every base image is there, and every file at the
first place that is tried.
"""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from builder.config.request import ARTIFACTS_WITH_FLAGS, Request
from builder.errors import BuilderError
from builder.oci.manifest import CONFIG, INDEX, MANIFEST, Descriptor, Manifest
from builder.oci.reference import Digest, Hub, ImageReference, Platform, Repository
from builder.plan.lock import ListedDirectory, LockedGo, SourceFacts
from builder.plan.model import CompiledFile, FetchedFile, ImagePlan, MirrorPlan, Plan, PlannedFile, PlatformImage, SourceFile
from builder.plan.planner import make_plan
from builder.plan.tags import image_references
from builder.ports import TreeState
from builder.recipe.book import Recipes
from builder.recipe.schema import Mirror
from builder.resolve.lookups import Lookups
from builder.resolve.resolver import resolve
from builder.resolve.source import read_source
from tools.parity import tree
from tools.parity.dockerfile import read_dockerfile
from tools.parity.go_build import parse_go_build
from tools.parity.model import CouldNotRead, Download, FileModel, GoProgram, ImageModel, TreePath
from tools.parity.theirs import Order

# What builder.resolve.source reads of a tree: files at its root, and the directories of the Dockerfiles.
_READ_FILES = ("go.mod", "Makefile.core.mk", "VERSION", "istio.deps")
_READ_DIRECTORIES = (
    "docker",
    "pilot/docker",
    "istioctl/docker",
    "operator/docker",
    "cni/deployments/kubernetes",
    "pkg/test/echo/docker",
)


class OurBuild:
    """One release as istio-build would build it."""

    def __init__(self, repository: tree.Repository, order: Order, recipes: Recipes) -> None:
        self._repository, self._order = repository, order
        self._source = self._read_source()
        self._book = recipes.at(self._source.release)
        self._plans: dict[str, tuple[Plan, _EveryRegistry]] = {}

    @property
    def images(self) -> tuple[str, ...]:
        """The names of all images that the recipes have for this release, base images aside."""
        return tuple(recipe.image for recipe in self._book.images if recipe.group != "bases")

    def base_models(self) -> Iterator[ImageModel]:
        """The base images that the images stand on, as their recipe writes them."""
        found: dict[str, str] = {}
        for image in self.images:
            # An image that there is no plan for is told of where it is compared.
            with contextlib.suppress(BuilderError, CouldNotRead):
                found |= self._plan(image)[1].references()
        for recipe in self._book.images:
            if recipe.group == "bases" and isinstance(recipe, Mirror):
                # It is what the images stand on, or both are shown.
                mirrored = self._plan(recipe.image)[1].references()[recipe.image]
                found[recipe.image] = " ".join(sorted({mirrored, found.get(recipe.image, mirrored)}))
        for name, reference in sorted(found.items()):
            yield ImageModel(image=name, variant="base", platform="", tags=(), base=reference)

    def models(self, image: str) -> Iterator[ImageModel]:
        """This image in all variants on all platforms that it can be built for; nothing where there is no recipe."""
        if image not in self.images:
            return
        plan, registry = self._plan(image)
        programs = {step.key: parse_go_build(step.command.argv()[2:], dict(step.env)) for step in plan.compiles}
        for planned in plan.images:
            for on in planned.platforms:
                yield _model(planned, on, programs, registry)
        for mirror in plan.mirrors:
            yield from self._mirror_models(mirror, registry)

    def _mirror_models(self, mirror: MirrorPlan, registry: "_EveryRegistry") -> Iterator[ImageModel]:
        """A mirror is the same as a Dockerfile of nothing but FROM, which is how Istio makes its own."""
        hub = Hub.parse(self._order.hub)
        for variant, is_default in mirror.variants:
            references = image_references((hub,), (self._order.tag,), mirror.image, variant, is_default=is_default)
            tags = tuple(reference.tag for reference in references if reference in mirror.references)
            for platform in mirror.platforms:
                yield ImageModel(
                    image=mirror.image,
                    variant=variant,
                    platform=str(platform),
                    tags=tags,
                    base=registry.unpinned(str(mirror.source)),
                )

    def _plan(self, image: str) -> "tuple[Plan, _EveryRegistry]":
        """The plan for all platforms that there is one for: up to 1.14 there is no Envoy for arm64."""
        if image not in self._plans:
            platforms = tuple(Platform.parse(platform) for platform in self._order.platforms)
            try:
                self._plans[image] = self._plan_for(image, platforms)
            except BuilderError:
                possible = tuple(platform for platform in platforms if self._can_plan(image, platform))
                self._plans[image] = self._plan_for(image, possible or platforms)
        return self._plans[image]

    def _can_plan(self, image: str, platform: Platform) -> bool:
        try:
            self._plan_for(image, (platform,))
        except BuilderError:
            return False
        return True

    def _plan_for(self, image: str, platforms: tuple[Platform, ...]) -> "tuple[Plan, _EveryRegistry]":
        request = Request(
            hubs=(Hub.parse(self._order.hub),),
            tags=(self._order.tag,),
            platforms=platforms,
            images=(image,),
            # Istio's own build knows no other source.
            artifact_sources=tuple((name, ("url",)) for name in ARTIFACTS_WITH_FLAGS),
        )
        registry = _EveryRegistry(platforms)
        # The newest Go, as far as what the plan asks of it goes.
        with tempfile.TemporaryDirectory(prefix="istio-build-parity-") as cache:
            lookups = Lookups(
                # A file that the tree lacks shows where what it holds is compared.
                check_file=lambda _: None,
                list_directory=self._list_directory,
                find_go=lambda: LockedGo(version="1.99.0"),
                registry=registry,
                downloader=_EveryServer(),
                cache=Path(cache),
                note=lambda _: None,
            )
            lock = resolve(request, self._book, self._source, lookups)
        return make_plan(request, self._book, lock), registry

    def _read_source(self) -> SourceFacts:
        with tempfile.TemporaryDirectory(prefix="istio-build-parity-") as scratch:
            for path in self._paths_to_read():
                target = Path(scratch, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(self._repository.text(self._order.tag, path), encoding="utf-8")
            return read_source(Path(scratch), lambda _: self._describe())

    def _paths_to_read(self) -> Iterator[str]:
        tag = self._order.tag
        yield from (path for path in _READ_FILES if self._repository.has_file(tag, path))
        for directory in _READ_DIRECTORIES:
            for entry in self._repository.files(tag, directory) if self._repository.is_directory(tag, directory) else ():
                if entry.path.startswith("Dockerfile"):
                    yield f"{directory}/{entry.path}"

    def _describe(self) -> TreeState:
        commit = self._repository.commit(self._order.tag)
        return TreeState(
            commit=commit.id,
            committed_at=commit.committed_at,
            content=commit.tree,
            tag=self._order.tag,
            description=self._order.tag,
            dirty=False,
            modified=False,
        )

    def _list_directory(self, source: str) -> ListedDirectory:
        entries = self._repository.files(self._order.tag, source)
        return ListedDirectory(source=source, files=tuple((entry.path, entry.mode) for entry in entries))


def _model(
    planned: ImagePlan, on: PlatformImage, programs: dict[str, dict[str, GoProgram]], registry: "_EveryRegistry"
) -> ImageModel:
    """How it is run is taken from the Dockerfile, as that decides; files are packed by us and only added there."""
    stage = read_dockerfile(on.dockerfile, {})
    archives = {source for copy in stage.copies for source in copy.sources}
    if archives != {layer.archive for layer in on.layers}:
        raise CouldNotRead(f"the Dockerfile of {planned.key} does not add the layers of the plan: {', '.join(sorted(archives))}")
    return ImageModel(
        image=planned.image,
        variant=planned.variant,
        platform=str(on.platform),
        tags=tuple(reference.tag for reference in planned.references),
        base=registry.unpinned(stage.base),
        user=stage.user,
        workdir=stage.workdir,
        entrypoint=stage.entrypoint,
        command=stage.command,
        env=tuple(sorted(stage.env.items())),
        labels=tuple(sorted(stage.labels.items())),
        # Users are no command of ours, but what a command would have made: it is what Istio runs.
        runs=(*stage.runs, *(user.command for step in on.accounts for user in step.users)),
        files=tuple(_file(file, programs) for file in on.files),
    )


def _file(file: PlannedFile, programs: dict[str, dict[str, GoProgram]]) -> FileModel:
    match file.origin:
        case CompiledFile(step=step, program=program):
            return FileModel(path=file.path, mode=file.mode, origin=programs[step][program])
        case SourceFile(source=source):
            return FileModel(path=file.path, mode=file.mode, origin=TreePath(path=source))
        case FetchedFile(artifact=artifact):
            return FileModel(path=file.path, mode=file.mode, origin=Download(url=artifact.location, member=artifact.member))


class _EveryServer:
    """Implements `ports.Downloader`: whatever is asked for is there, so the first place that is tried is taken."""

    def read_text(self, url: str) -> str | None:
        """A checksum file."""
        return f"{0:064} {url}\n"

    def download(self, url: str, sha256: str, into: Path, *, on_bytes: Callable[[int, int], None] | None = None) -> None:
        """A plan downloads nothing that has a checksum."""
        raise NotImplementedError

    def exists(self, url: str) -> bool:
        """Everything does."""
        return True

    def download_unsummed(self, url: str, into: Path) -> str:
        """What has no checksum is an empty file."""
        into.touch()
        return hashlib.sha256(b"").hexdigest()


class _EveryRegistry:
    """Implements `ports.ImageReader`: whatever base image is asked for is there, under a made-up digest that tells which."""

    def __init__(self, platforms: Sequence[Platform]) -> None:
        self._platforms = platforms
        self._asked: dict[Digest, ImageReference] = {}
        self._manifests: dict[Digest, Manifest] = {}
        self._blobs: dict[Digest, bytes] = {}

    def unpinned(self, text: str) -> str:
        """The base image of a Dockerfile as the recipe writes it, without our made-up digest."""
        digest = ImageReference.parse(text).digest
        return str(self._asked[digest]) if digest in self._asked else text

    def references(self) -> dict[str, str]:
        """The base images that were asked for, by name."""
        return {reference.repository.path.rpartition("/")[2]: str(reference) for reference in self._asked.values()}

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        """An index of all platforms, made up at the first question; an image of one of them."""
        if reference.digest in self._manifests:
            return self._manifests[reference.digest]
        children = [self._make_image(reference, platform).to_json() for platform in self._platforms]
        index = _manifest(INDEX, {"manifests": children, "annotations": {"reference": str(reference)}})
        self._asked[index.digest] = reference
        return index

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        """A configuration."""
        return self._blobs[descriptor.digest]

    def _make_image(self, reference: ImageReference, platform: Platform) -> Descriptor:
        # Its PATH stands for itself, as `$PATH` in a Dockerfile does: so an image that adds to it shows that it does.
        run = {"Env": ["PATH=$PATH"]}
        about = {"os": platform.os, "architecture": platform.architecture, "config": run, "of": str(reference)}
        config = json.dumps(about).encode()
        blob = Descriptor(media_type=CONFIG, digest=Digest.of(config), size=len(config))
        self._blobs[blob.digest] = config
        image = _manifest(MANIFEST, {"config": blob.to_json(), "layers": []})
        self._manifests[image.digest] = image
        descriptor = image.descriptor
        return Descriptor(media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size, platform=platform)


def _manifest(media_type: str, document: dict[str, object]) -> Manifest:
    content = json.dumps({"schemaVersion": 2, "mediaType": media_type, **document}).encode()
    return Manifest(media_type=media_type, content=content)
