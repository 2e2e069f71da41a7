"""What istio-build.lock holds: for each thing that was looked up, what was asked for and what it is bound to. Pure.

Digests and sums only: what they name is read by digest again, so a lock can be read by people, and nothing in it has to be
believed. It holds no hub, no tag, no path of a machine and no credential, so one lock serves every machine and every hub.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import yaml
from pydantic import Field, StringConstraints

from builder.recipe.yaml_file import Schema

_HEADER = "# Written by `istio-build lock`; obeyed with --locked. `istio-build lock --update` looks everything up anew.\n"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DigestText = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
GitId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
PlatformText = Literal["linux/amd64", "linux/arm64"]
# A copied image has what its owner builds it for.
AnyPlatform = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+/[a-z0-9_]+$")]


class SourceEntry(Schema):
    """The source: `url` and `release` are where it was fetched from, empty for a checkout; the rest is what git says of it."""

    url: str = ""
    release: str = ""
    version: str
    tag: str = ""
    description: str
    commit: GitId
    tree: GitId
    committed_at: int


class PatchEntry(Schema):
    """A patch that is applied to the source."""

    name: str
    sha256: Sha256


class GoEntry(Schema):
    """The Go that compiles, or the image that it is taken from."""

    asked: str
    version: str = ""
    reason: str = ""
    image: str = ""


class BaseEntry(Schema):
    """A base image: its index, and the manifest of each platform."""

    asked: str
    digest: DigestText
    platforms: Mapping[PlatformText, DigestText]


class ArtifactEntry(Schema):
    """A file that somebody else built. `asked` are the places that it was looked for at, `found` is the one that had it: a
    URL, an image bound to a digest, or nothing for a file of the user's own, whose path is that machine's."""

    asked: tuple[str, ...]
    kind: Literal["file", "url", "image"]
    found: str = ""
    sha256: Sha256
    member: str = ""


class MirrorEntry(Schema):
    """An image to copy, and all platforms that it has."""

    asked: str
    digest: DigestText
    platforms: tuple[AnyPlatform, ...]


class PackageEntry(Schema):
    """A package's file."""

    url: str
    sha256: Sha256


class PackagesEntry(Schema):
    """The packages of an image on one platform by the name of their file, and the sources.list of the image itself."""

    asked: tuple[str, ...]
    sources: tuple[str, ...]
    packages: Mapping[str, PackageEntry]


class LockFile(Schema):
    """The whole file. `recipes` is the sum over the recipes and templates that it was made with, `patches` those that are
    applied to the source, in their order."""

    version: Literal[1]
    istio_build: str
    recipes: DigestText
    source: SourceEntry
    patches: tuple[PatchEntry, ...] = ()
    go: GoEntry | None = None
    bases: Mapping[str, BaseEntry] = Field(default={})
    artifacts: Mapping[str, Mapping[PlatformText, ArtifactEntry]] = Field(default={})
    mirrors: Mapping[str, MirrorEntry] = Field(default={})
    packages: Mapping[str, Mapping[PlatformText, PackagesEntry]] = Field(default={})


def lock_text(lock: LockFile) -> str:
    """The file: equal locks are equal texts, one value a line."""
    document = lock.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20, default_flow_style=False)
    return _HEADER + text


class _Dumper(yaml.SafeDumper):
    """Without aliases: what stands twice is written twice, so that a change of the one shows as a change of the one."""

    def ignore_aliases(self, data: object) -> bool:
        return True
