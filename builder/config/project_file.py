"""The project file, istio-build.yaml: what may stand in it, and where it is found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from builder.config.settings import Words
from builder.errors import RequestError
from builder.recipe.yaml_file import Schema, YamlDocument, read_yaml, validate

PROJECT_FILE = "istio-build.yaml"


class ProjectFile(Schema):
    """`istio-build.yaml`: what a job would otherwise need flags for. Every key has the name of its flag."""

    hub: Words = Field(default=(), description="Where images go: a registry and a path, such as docker.io/me; or several.")
    tag: Words = Field(default=(), description="The tag, or several; the first is stamped into the programs.")
    istio: str = Field(default="", description="The release of Istio to fetch, such as 1.29.0.")
    source: str = Field(default="", description="A checkout of Istio, relative to this file, instead of a release.")
    git_url: str = Field(default="", description="Where releases are fetched from.")
    image: Words = Field(default=(), description="The images to build, or groups of them; the core by default.")
    variant: Words = Field(default=(), description="The variants to build; all by default.")
    platform: Words = Field(default=(), description="The platforms; linux/amd64 and linux/arm64 by default.")
    recipes: Words = Field(default=(), description="Directories of recipes of your own, relative to this file.")
    base_registry: str = Field(default="", description="Where base images come from.")
    base: Mapping[str, str] = Field(default={}, description="Base images by name: base, distroless, iptables.")
    mirror_from: Mapping[str, str] = Field(default={}, description="Where mirrored images are copied from, by image.")
    bases: Literal["", "copy", "build"] = Field(
        default="", description="How the images of group bases come about: copied, or built of packages; copied by default."
    )
    base_distribution: str = Field(default="", description="What bases are built from: distribution and suite.")
    apt_mirror: Mapping[str, str] = Field(default={}, description="Mirrors by the name of the package archive.")
    envoy_url: str = Field(default="", description="The URL below which Envoy's archives are.")
    envoy: Mapping[str, str] = Field(default={}, description="An Envoy of your own by platform: a path or a URL.")
    envoy_image: str = Field(default="", description="A proxyv2 image to take Envoy out of, where it is nowhere else.")
    envoy_from: Words = Field(default=(), description="Where to look for Envoy, in this order: file, url, image.")
    debug_envoy: bool = Field(default=False, description="Take Envoy with its symbols.")
    ztunnel_url: str = Field(default="", description="The URL below which ztunnel's programs are.")
    ztunnel: Mapping[str, str] = Field(default={}, description="A ztunnel of your own by platform: a path or a URL.")
    ztunnel_image: str = Field(default="", description="A ztunnel image to take the program out of.")
    ztunnel_from: Words = Field(default=(), description="Where to look for ztunnel, in this order: file, url, image.")
    builder: str = Field(default="", description="The buildx builder to use.")
    compression: Literal["", "gzip", "zstd"] = Field(default="", description="How layers are compressed; gzip by default.")
    insecure_registry: Words = Field(default=(), description="Registries that are spoken to over plain HTTP.")
    timeout: float | None = Field(default=None, gt=0, description="Seconds after which a host that is silent is given up.")
    go: str = Field(default="", description="Which Go compiles: release (the default), machine, newest, or a version.")
    compile_in: str = Field(default="", description="An image to compile in, instead of with this machine's Go.")
    go_flags: Words = Field(default=(), description="More flags of `go build`, added to the recipe's.")
    go_env: Mapping[str, str] = Field(default={}, description="Go's environment, such as GOFIPS140: v1.0.0.")
    debug: bool = Field(default=False, description="Compile for a debugger, as Istio's DEBUG=1 does.")


def read_project(path: Path) -> YamlDocument:
    """Read and check a project file. Raises RecipeError with file and line."""
    document = read_yaml(path)
    validate(ProjectFile, document)
    return document


def find_project(named: str) -> YamlDocument | None:
    """The project file: the one named, else `istio-build.yaml` in the working directory, if it is there."""
    path = Path(named or PROJECT_FILE)
    if not path.exists():
        if named:
            raise RequestError(f"there is no project file {path}", hint="--file names it.")
        return None
    return read_project(path)
