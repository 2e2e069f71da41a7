"""Istio's side: what its own build would make of a release, derived from the build files of that tag."""

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tools.parity.dockerfile import Copy, Stage, read_dockerfile
from tools.parity.downloads import Fetched, read_downloads
from tools.parity.go_build import BuildScripts, read_programs
from tools.parity.image_builds import VARIANT, ImageBuild, Release, Tagged, read_image_builds
from tools.parity.make import Makefile
from tools.parity.model import CouldNotRead, FileModel, GoProgram, ImageModel, TreePath
from tools.parity.tree import Repository

_MAKEFILE = "Makefile.core.mk"
_DOCKER_COPY = "tools/docker-copy.sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What both sides are asked to build: a tag of Istio, for a hub and platforms such as `linux/arm64`."""

    tag: str
    hub: str
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A path of a build context: a file or directory of the tree, a program, or a download."""

    path: str
    program: GoProgram | None = None
    fetched: Fetched | None = None
    # What its ELF header would say; empty for what is no program.
    architecture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Platform:
    """What the build has made for one platform before images are assembled."""

    name: str
    make: Makefile
    programs: Mapping[str, GoProgram]
    downloads: Mapping[str, Fetched]
    foreign: frozenset[str]

    @property
    def architecture(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def output(self) -> str:
        return _output(self.name)


class IstioBuild:
    """One release as Istio would build it. Raises CouldNotRead where a build file is not what is expected."""

    def __init__(self, repository: Repository, order: Order) -> None:
        self._repository, self._order = repository, order
        self._commit = repository.commit(order.tag)
        self._release = Release(
            tag=order.tag,
            platforms=order.platforms,
            dependencies=_read_dependencies(self._text("istio.deps")),
        )
        self._platforms = self._read_platforms()
        first = self._platforms[order.platforms[0]]
        self._builds, self._bases = read_image_builds(
            repository, first.make, self._release, self._environment(order.platforms[0])
        )

    @property
    def images(self) -> tuple[str, ...]:
        """The names of all images that it builds, base images aside."""
        return tuple(build.image for build in self._builds)

    def base_models(self) -> Iterator[ImageModel]:
        """The base images that Istio builds beside this release, under the names that its Dockerfiles would take."""
        make = self._platforms[self._order.platforms[0]].make
        # Up to 1.16 the Dockerfiles have it in words (pilot/docker/Dockerfile.pilot@1.16.0).
        registry = make.find("ISTIO_BASE_REGISTRY") or "gcr.io/istio-release"
        for name in sorted(self._bases):
            base = f"{registry}/{name}:{make.value('BASE_VERSION')}"
            yield ImageModel(image=name, variant="base", platform="", tags=(), base=base)

    def mention(self, image: str) -> Iterator[ImageModel]:
        """That this image is built, and nothing more."""
        if image in self.images:
            yield ImageModel(image=image, variant="", platform="", tags=(), base="")

    def models(self, image: str) -> Iterator[ImageModel]:
        """This image in all variants on all platforms; nothing where it is not built."""
        for build in self._builds:
            for variant in build.variants if build.image == image else ():
                found = [self._model(build, variant, self._platforms[platform]) for platform in build.platforms]
                if not any(found):
                    raise CouldNotRead(f"{build.dockerfile} copies what no context has")
                yield from (model for model in found if model)

    def _read_platforms(self) -> dict[str, _Platform]:
        scripts = BuildScripts(
            gobuild=self._text("common/scripts/gobuild.sh"),
            report_build_info=self._text("common/scripts/report_build_info.sh"),
            commit=self._commit.id,
            # The release builder tags its clone before it builds.
            description=self._order.tag,
        )
        found: dict[str, _Platform] = {}
        for platform in self._order.platforms:
            environment = self._environment(platform)
            # ISTIO_GO is the directory of the Makefile.
            make = Makefile(environment, self._find_text).include(_MAKEFILE, fixed={"ISTIO_GO": "."})
            exported = {**make.environment(), **environment}
            downloads = read_downloads(self._text("bin/init.sh"), self._find_text("bin/build_ztunnel.sh"), exported)
            found[platform] = _Platform(
                name=platform,
                make=make,
                programs=read_programs(make, scripts, {"VERSION": self._order.tag, "HUB": self._order.hub}),
                downloads=downloads,
                foreign=_foreign(downloads, found.get(self._order.platforms[0])),
            )
        return found

    def _environment(self, platform: str) -> dict[str, str]:
        """What the release builder and common/scripts/setup_env.sh set."""
        dependencies = self._release.dependencies
        return {
            "VERSION": self._order.tag,
            "TAG": self._order.tag,
            "HUB": self._order.hub,
            "TARGET_OS": "linux",
            "TARGET_ARCH": platform.rpartition("/")[2],
            "TARGET_OUT": _output(platform),
            "TARGET_OUT_LINUX": _output(platform),
            "GOOS_LOCAL": "linux",
            # The scripts grep them out of istio.deps themselves where they are not set.
            **{name: dependencies[name] for name in ("PROXY_REPO_SHA", "ZTUNNEL_REPO_SHA") if name in dependencies},
        }

    def _model(self, build: ImageBuild, variant: Tagged, platform: _Platform) -> ImageModel | None:
        """The image on one platform; None where the Dockerfile copies a program that there is none of for it."""
        arguments = {name: value.replace(VARIANT, variant.distribution) for name, value in build.arguments.items()}
        arguments |= {"TARGETARCH": platform.architecture, "TARGETOS": "linux", "TARGETPLATFORM": platform.name}
        try:
            stage = read_dockerfile(self._text(build.dockerfile), arguments)
        except CouldNotRead as error:
            raise CouldNotRead(f"{build.dockerfile}: {error}") from error
        context = self._context(build, platform)
        files: list[FileModel] = []
        for copy in stage.copies:
            copied = self._copy(copy, stage, context, build)
            if copied is None:
                return None
            files += copied
        return ImageModel(
            image=build.image,
            variant=variant.name,
            platform=platform.name,
            tags=variant.tags,
            base=stage.base,
            user=stage.user,
            workdir=stage.workdir,
            entrypoint=stage.entrypoint,
            command=stage.command,
            env=tuple(sorted(stage.env.items())),
            labels=tuple(sorted(stage.labels.items())),
            runs=tuple(stage.runs),
            # A later COPY to the same place replaces an earlier one.
            files=tuple({file.path: file for file in files}.values()),
        )

    def _context(self, build: ImageBuild, platform: _Platform) -> dict[str, _Source]:
        """The build context by path within it. tools/docker-copy.sh (1.11+) sorts programs by their ELF header."""
        context: dict[str, _Source] = {}
        sorted_by_architecture = self._repository.has_file(self._order.tag, _DOCKER_COPY)
        for path in build.sources:
            source = self._source(posixpath.normpath(path), platform)
            name = posixpath.basename(source.path)
            in_directory = sorted_by_architecture and source.architecture
            context[f"{source.architecture}/{name}" if in_directory else name] = source
        return context

    def _source(self, path: str, platform: _Platform) -> _Source:
        # docker-copy.sh takes the same path below the other platform's output for the other platform.
        for name in self._order.platforms:
            path = path.replace(f"{_output(name)}/", f"{platform.output}/")
        if path in platform.downloads:
            fetched = platform.downloads[path]
            architecture = "amd64" if path in platform.foreign else platform.architecture
            return _Source(path=path, fetched=fetched, architecture=architecture if fetched.is_program else "")
        directory, name = posixpath.split(path)
        if directory == platform.output:
            if name not in platform.programs:
                raise CouldNotRead(f"nothing makes {path}")
            return _Source(path=path, program=platform.programs[name], architecture=platform.architecture)
        return _Source(path=path)

    def _copy(self, copy: Copy, stage: Stage, context: Mapping[str, _Source], build: ImageBuild) -> list[FileModel] | None:
        if copy.stage:
            raise CouldNotRead(f"{build.dockerfile}: COPY --from is not understood")
        into = copy.destination.endswith("/") or len(copy.sources) > 1
        files: list[FileModel] = []
        for name in copy.sources:
            found = _find_source(context, posixpath.normpath(name))
            if found is None:
                if any(source.architecture for source in context.values()) and name.split("/")[0] in ("amd64", "arm64"):
                    return None
                raise CouldNotRead(f"{build.dockerfile}: the context has no {name}")
            destination = posixpath.join(stage.workdir or "/", copy.destination)
            target = posixpath.normpath(posixpath.join(destination, posixpath.basename(name)) if into else destination)
            files += self._copied(found, target, posixpath.normpath(destination))
        return files

    def _copied(self, source: _Source, target: str, directory: str) -> Iterator[FileModel]:
        """The files that copying one source makes; a directory is copied by its content."""
        if source.program:
            # docker-copy.sh makes programs 755, which is also what the compiler makes them with a umask of 022.
            yield FileModel(path=target, mode="0755", origin=source.program)
        elif source.fetched:
            # Programs as above; curl makes WebAssembly 0644.
            mode = "0755" if source.fetched.is_program else "0644"
            yield FileModel(path=target, mode=mode, origin=source.fetched.download)
        elif self._repository.is_directory(self._order.tag, source.path):
            for entry in self._repository.files(self._order.tag, source.path):
                origin = TreePath(path=f"{source.path}/{entry.path}")
                yield FileModel(path=f"{directory}/{entry.path}", mode=entry.mode, origin=origin)
        else:
            mode = self._repository.mode(self._order.tag, source.path)
            yield FileModel(path=target, mode=mode, origin=TreePath(path=source.path))

    def _text(self, path: str) -> str:
        return self._repository.text(self._order.tag, path)

    def _find_text(self, path: str) -> str | None:
        return self._repository.find_text(self._order.tag, path)


def _output(platform: str) -> str:
    return f"out/{platform.replace('/', '_')}"


def _foreign(downloads: Mapping[str, Fetched], first: _Platform | None) -> frozenset[str]:
    """Programs that are downloaded from the same URL as for the first platform are that platform's (Envoy up to 1.14)."""
    if first is None:
        return frozenset()
    urls = {fetched.download.url for fetched in first.downloads.values()}
    return frozenset(path for path, fetched in downloads.items() if fetched.download.url in urls)


def _find_source(context: Mapping[str, _Source], name: str) -> _Source | None:
    """A file or directory of the context, or something below such a directory."""
    if name in context:
        return context[name]
    head, _, rest = name.partition("/")
    if head in context and rest and not context[head].program and not context[head].fetched:
        return replace(context[head], path=f"{context[head].path}/{rest}")
    return None


def _read_dependencies(text: str) -> dict[str, str]:
    try:
        return {str(entry["name"]): str(entry["lastStableSHA"]) for entry in json.loads(text)}
    except (ValueError, KeyError, TypeError) as error:
        raise CouldNotRead(f"istio.deps: {error!r}") from error
