"""Which images Istio's build makes, from which Dockerfiles and files, under which tags.

Three ways in its history: tools/docker.yaml with tools/docker-builder (1.14+), make's prerequisites with an early
tools/docker-builder (1.13), make's prerequisites with tools/buildx-gen.sh (1.10 to 1.12).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tools.parity.make import Makefile, settled
from tools.parity.model import CouldNotRead
from tools.parity.shell import Script
from tools.parity.tree import Repository

DOCKER_YAML = "tools/docker.yaml"
# Constants that stand where a build argument needs what is known only later.
VARIANT = "\0variant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A variant: what BASE_DISTRIBUTION is, and the tags it gets."""

    name: str
    distribution: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """An image to build: `sources` are paths of the tree, or below the build's output, that its context is made of."""

    image: str
    dockerfile: str
    sources: tuple[str, ...]
    platforms: tuple[str, ...]
    variants: tuple[Tagged, ...]
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a release's build is told: the tag, and Istio's istio.deps by name."""

    tag: str
    platforms: tuple[str, ...]
    dependencies: Mapping[str, str]


def read_image_builds(
    repository: Repository, make: Makefile, release: Release, environment: Mapping[str, str]
) -> tuple[tuple[ImageBuild, ...], frozenset[str]]:
    """The images that are built, and the names of the base images that are built besides. Raises CouldNotRead."""
    builds, bases = _read_any(repository, make, release, environment)
    if not builds:
        raise CouldNotRead("it builds no image at all")
    return builds, bases


def _read_any(
    repository: Repository, make: Makefile, release: Release, environment: Mapping[str, str]
) -> tuple[tuple[ImageBuild, ...], frozenset[str]]:
    if repository.has_file(release.tag, DOCKER_YAML):
        return _read_docker_yaml(repository, make, release, environment)
    bases = frozenset(name for name in ("base", "distroless") if f"docker.{name}" in make.rules)
    if repository.is_directory(release.tag, "tools/docker-builder"):
        return _read_make_with_docker_builder(repository, make, release), bases
    return _read_make(repository, make, release), bases


def _read_docker_yaml(
    repository: Repository, make: Makefile, release: Release, environment: Mapping[str, str]
) -> tuple[tuple[ImageBuild, ...], frozenset[str]]:
    """ReadPlan in tools/docker-builder/main.go@1.29.0: variables are filled in before the YAML is read."""
    # RELEASE_MODE is `debug` only with DEBUG_IMAGE.
    values = {**environment, "SIDECAR": "envoy", "RELEASE_MODE": "release"}
    text = re.sub(r"\$\{(\w+)\}", lambda found: values.get(found[1], ""), repository.text(release.tag, DOCKER_YAML))
    source = _go_source(repository, release.tag)
    builds, bases = [], set()
    try:
        for image in yaml.safe_load(text)["images"]:
            if image.get("base"):
                bases.add(str(image["name"]))
                continue
            builds.append(_image_of_docker_yaml(image, source, make, release))
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise CouldNotRead(f"{DOCKER_YAML}: {error!r}") from error
    # tools/build-base-images.sh publishes it with apko since 1.23.
    if repository.has_file(release.tag, "docker/iptables.yaml"):
        bases.add("iptables")
    return tuple(builds), frozenset(bases)


def _image_of_docker_yaml(image: Mapping[str, Any], source: str, make: Makefile, release: Release) -> ImageBuild:
    unknown = set(image) - {"name", "dockerfile", "files", "targets", "base", "emulationRequired"}
    if unknown:
        raise CouldNotRead(f"{DOCKER_YAML}: image {image['name']} has {', '.join(sorted(unknown))}")
    return ImageBuild(
        image=str(image["name"]),
        dockerfile=str(image["dockerfile"]),
        sources=(*(image.get("files") or ()), *(image.get("targets") or ())),
        platforms=release.platforms,
        variants=_go_variants(source, str(image["name"]), release.tag),
        arguments=_go_arguments(source, make, release),
    )


def _read_make_with_docker_builder(repository: Repository, make: Makefile, release: Release) -> tuple[ImageBuild, ...]:
    source = _go_source(repository, release.tag)
    found = [images for text in re.findall(r"targets := \[\]string\{(.*?)\}", source, re.DOTALL) if (images := _quoted(text))]
    if len(found) != 1:
        raise CouldNotRead("tools/docker-builder does not list its targets")
    return tuple(
        _image_of_make(
            make,
            image,
            platforms=release.platforms,
            variants=_go_variants(source, image, release.tag),
            arguments=_go_arguments(source, make, release),
        )
        for image in found[0]
    )


def _read_make(repository: Repository, make: Makefile, release: Release) -> tuple[ImageBuild, ...]:
    """tools/istio-docker.mk and tools/buildx-gen.sh, which writes the bake file, @1.10.0 to @1.12.9."""
    script = repository.text(release.tag, "tools/buildx-gen.sh")
    skipped = re.findall(r"\$1 =~ (\S+) \]\]", repository.text(release.tag, "tools/skip-image.sh"))
    if len(skipped) != 1:
        raise CouldNotRead("tools/skip-image.sh is not what it was up to 1.12")
    # From 1.12 on `default` is but another tag of the variant that this says; before it was a variant of its own.
    default = re.search(r'DEFAULT_VARIANT="\$\{DEFAULT_VARIANT:-(\w+)\}"', script)
    builds = []
    for target in make.value("DOCKER_TARGETS").split():
        image = target.removeprefix("docker.")
        variants = []
        for name in make.value("DOCKER_ALL_VARIANTS").split():
            # skip-image.sh: test images have no distroless variant.
            if name == "distroless" and re.search(skipped[0], target):
                continue
            own = (f"{release.tag}-{name}",)
            if default:
                # The release builder sets INCLUDE_UNTAGGED_DEFAULT.
                tags = (*own, release.tag) if name == default[1] else own
            else:
                tags = (release.tag,) if name == "default" else own
            variants.append(Tagged(name=name, distribution=name, tags=tags))
        builds.append(
            _image_of_make(
                make,
                image,
                platforms=_make_platforms(script, image, release.platforms),
                variants=tuple(variants),
                arguments=_make_arguments(script, make, release),
            )
        )
    return tuple(builds)


def _image_of_make(
    make: Makefile,
    image: str,
    *,
    platforms: tuple[str, ...],
    variants: tuple[Tagged, ...],
    arguments: Mapping[str, str],
) -> ImageBuild:
    """The context is what the target depends on: DOCKER_RULE copies `$^` (tools/istio-docker.mk@1.10.0)."""
    prerequisites = [settled(path, f"docker.{image}") for path in make.rule(f"docker.{image}").prerequisites]
    dockerfiles = [path for path in prerequisites if path.rpartition("/")[2].startswith("Dockerfile")]
    sources = [_follow_copy(make, path) for path in prerequisites if path not in dockerfiles]
    return ImageBuild(
        image=image,
        # The virtual machines' images get theirs from a template (RENAME_TEMPLATE).
        dockerfile=dockerfiles[0] if dockerfiles else "",
        sources=tuple(dict.fromkeys(sources)),
        platforms=platforms,
        variants=variants,
        arguments=arguments,
    )


def _follow_copy(make: Makefile, path: str) -> str:
    """A file that a rule of its own copies from the tree first: `cp -a tests/testdata/certs $(ISTIO_DOCKER)/.`."""
    for line in make.rules[path].recipe if path in make.rules else ():
        found = re.fullmatch(r"@?cp -a (\S+) \S+/\.", make.expand(line))
        if found:
            return found[1]
    return path


def _make_platforms(script: str, image: str, platforms: tuple[str, ...]) -> tuple[str, ...]:
    """to_platform_list: up to 1.11 all but the base images are for one platform only."""
    body = re.search(r"function to_platform_list\(\) \{(.*?)^\}", script, re.DOTALL | re.MULTILINE)
    if not body:
        raise CouldNotRead("tools/buildx-gen.sh has no to_platform_list")
    alone = re.search(r"else\s+echo '\"(\S+)\"'", body[1])
    excepted = re.findall(r'"\$\{image\}" == (\w+)', body[1])
    return (alone[1],) if alone and image not in excepted else platforms


def _make_arguments(script: str, make: Makefile, release: Release) -> dict[str, str]:
    block = re.search(r"args = \{(.*?)\n    \}", script, re.DOTALL)
    if not block:
        raise CouldNotRead("tools/buildx-gen.sh gives no build arguments")
    shell = Script(
        variables={
            "BASE_VERSION": make.value("BASE_VERSION"),
            "PROXY_REPO_SHA": release.dependencies["PROXY_REPO_SHA"],
            "VERSION": release.tag,
            "variant": VARIANT,
            "VM_IMAGE_NAME": "",
            "VM_IMAGE_VERSION": "",
            "DEFAULT_VARIANT": "",
        }
    )
    return {name: "".join(shell.expand(f'"{value}"')) for name, value in re.findall(r'(\w+) = "(.*)"', block[1])}


def _quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]+)"', text)


def _go_source(repository: Repository, tag: str) -> str:
    names = [entry.path for entry in repository.files(tag, "tools/docker-builder") if entry.path.endswith(".go")]
    return "\n".join(repository.text(tag, f"tools/docker-builder/{name}") for name in names)


def _go_variants(source: str, image: str, tag: str) -> tuple[Tagged, ...]:
    """The constants of types.go, and extractTags of common.go: the primary variant gets the plain tag, too."""
    constants = dict(re.findall(r'(\w+Variant)\s*=\s*"(\w+)"', source))
    primary = re.search(r"PrimaryVariant\s*=\s*(\w+)", source)
    skipped = re.search(r'strings\.HasPrefix\(target, "(\w+)"\) && variant == DistrolessVariant', source)
    if not primary or not skipped or primary[1] not in constants or "DefaultVariant" not in constants:
        raise CouldNotRead("tools/docker-builder: the variants are not where they were")
    variants = []
    for constant, name in constants.items():
        if constant == "DefaultVariant" or (constant == "DistrolessVariant" and image.startswith(skipped[1])):
            continue
        tags = (f"{tag}-{name}", tag) if constant == primary[1] else (f"{tag}-{name}",)
        variants.append(Tagged(name=name, distribution=name, tags=tags))
    return tuple(variants)


def _go_arguments(source: str, make: Makefile, release: Release) -> dict[str, str]:
    """The build arguments of createArgs (common.go@1.29.0; in 1.13 within ConstructBakeFile of main.go)."""
    block = re.search(r'map\[string\]string\{([^}]*"BASE_VERSION".*?)\n\t+\}', source, re.DOTALL)
    if not block:
        raise CouldNotRead("tools/docker-builder gives no build arguments")
    agentgateway = re.search(r'agwImage = "([^"]+)" \+ agwv', source)
    values = {
        # fetchBaseVersion and fetchIstioBaseReg read them from Makefile.core.mk.
        "args.BaseVersion": make.value("BASE_VERSION"),
        "args.BaseImageRegistry": make.find("ISTIO_BASE_REGISTRY") or "",
        "baseDist": VARIANT,
        "args.ProxyVersion": release.dependencies["PROXY_REPO_SHA"],
        "args.ZtunnelVersion": release.dependencies.get("ZTUNNEL_REPO_SHA", "unknown"),
        "args.AgentgatewayImage": (agentgateway[1] if agentgateway else "") + release.dependencies.get("AGENTGATEWAY_IMAGE", ""),
        "args.IstioVersion": release.tag,
        # Empty but for the virtual machines' images.
        "vmImageName(target)": "",
        "vmImageVersion(target)": "",
    }
    given = re.findall(r'^\s*"(\w+)":\s*(.+),$', block[1], re.MULTILINE)
    for name, expression in given:
        if expression not in values:
            raise CouldNotRead(f"tools/docker-builder: build argument {name} is {expression}")
    return {name: values[expression] for name, expression in given}
