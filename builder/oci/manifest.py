"""OCI image-spec v1.1 values: descriptors, indexes, manifests, image configurations.

Only what this tool reads or writes; unknown fields stay in the bytes, which are never re-serialised once they have a
digest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from builder.errors import RegistryError, RequestError
from builder.oci.reference import Digest, Platform
from builder.runtime.json_document import list_of, object_of, parse_json, text_map_of, text_of, texts_of

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPES = (INDEX, DOCKER_INDEX)
MANIFEST_TYPES = (MANIFEST, DOCKER_MANIFEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a manifest says of a piece of content: its type, digest and size in bytes; in an index, its platform."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read a descriptor object.

        Raises KeyError where a field is missing, RequestError for a bad digest, ValueError for what is of the wrong type.
        """
        platform = object_of(object_of(value).get("platform"))
        return cls(
            media_type=text_of(value.get("mediaType")),
            digest=Digest(text_of(value["digest"])),
            size=_size_of(value["size"]),
            platform=_platform_of(platform) if platform else None,
        )

    @property
    def is_runnable(self) -> bool:
        """Whether an index lists it as an image for some platform. Attestations are listed as unknown/unknown."""
        return self.platform is not None and self.platform.os != "unknown"

    def to_json(self) -> dict[str, Any]:
        """The descriptor object, keys in the order of the specification."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.platform:
            value["platform"] = {"architecture": self.platform.architecture, "os": self.platform.os}
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBlob:
    """A blob that a registry has: its bytes as the registry counts them, None where it does not say."""

    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The exact bytes of an index or image manifest, with their media type."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return Digest.of(self.content)

    @property
    def descriptor(self) -> Descriptor:
        """How an index refers to it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.content))

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests and not layers."""
        return self.media_type in INDEX_TYPES

    def json(self) -> dict[str, Any]:
        """The document. Raises RegistryError where it is no JSON object."""
        try:
            document = parse_json(self.content)
        except ValueError as error:
            raise RegistryError(f"manifest {self.digest} is not JSON: {error}", damaged=True) from error
        if not isinstance(document, dict):
            raise RegistryError(f"manifest {self.digest} is not a JSON object", damaged=True)
        return document

    def children(self) -> tuple[Descriptor, ...]:
        """The manifests that an index lists."""
        return self._descriptors(self.json().get("manifests"))

    def child_for(self, platform: Platform) -> Descriptor | None:
        """The manifest that an index lists for this platform, None where it lists none."""
        return next((child for child in self.children() if child.platform == platform), None)

    def platforms(self) -> tuple[Platform, ...]:
        """The platforms for which an index lists an image."""
        return tuple(child.platform for child in self.children() if child.platform and child.is_runnable)

    def config(self) -> Descriptor:
        """The image configuration that an image manifest names."""
        return self._descriptors([self.json().get("config")])[0]

    def layers(self) -> tuple[Descriptor, ...]:
        """The layers of an image manifest, base first."""
        return self._descriptors(self.json().get("layers"))

    def annotations(self) -> dict[str, str]:
        """Its annotations. Raises RegistryError where one is no text."""
        try:
            return text_map_of(self.json().get("annotations"))
        except ValueError as error:
            raise RegistryError(f"manifest {self.digest} holds malformed annotations: {error}", damaged=True) from error

    def _descriptors(self, values: Any) -> tuple[Descriptor, ...]:  # noqa: ANN401 - JSON
        try:
            return tuple(Descriptor.from_json(object_of(value)) for value in list_of(values))
        except (KeyError, ValueError, RequestError) as error:
            raise RegistryError(f"manifest {self.digest} holds a malformed descriptor: {error!r}", damaged=True) from error


# The properties of an image configuration that `ImageConfig` has fields for.
_OWN_FIELDS: Final = frozenset(("User", "Entrypoint", "Cmd", "Env", "WorkingDir", "Labels"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image configuration says of how to run it, and of its layers.

    `others` is all else that it says of that, and its `author`: each property with its value as JSON, sorted, in one
    form. What is null, false or empty says nothing. `history` is how its layers came about, an entry as JSON each.
    """

    platform: Platform
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    diff_ids: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read a configuration blob. Raises RegistryError where it is not one."""
        try:
            document = object_of(parse_json(content))
            config = object_of(document.get("config"))
            env = (entry.partition("=") for entry in texts_of(config.get("Env")))
            return cls(
                platform=_platform_of(document),
                user=text_of(config.get("User")),
                entrypoint=texts_of(config.get("Entrypoint")),
                command=texts_of(config.get("Cmd")),
                env=tuple((name, value) for name, _, value in env),
                working_dir=text_of(config.get("WorkingDir")),
                labels=tuple(sorted(text_map_of(config.get("Labels")).items())),
                others=_others({**config, "author": document.get("author")}),
                diff_ids=texts_of(object_of(document.get("rootfs")).get("diff_ids")),
                history=tuple(_one_form(object_of(entry)) for entry in list_of(document.get("history"))),
            )
        except (ValueError, KeyError) as error:
            raise RegistryError(f"image configuration {Digest.of(content)} is malformed: {error!r}", damaged=True) from error


def _platform_of(value: Mapping[str, Any]) -> Platform:
    return Platform(text_of(value["os"]), text_of(value["architecture"]))


def _others(properties: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _one_form(value)) for name, value in sorted(properties.items()) if name not in _OWN_FIELDS and value)


def _one_form(value: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _size_of(value: Any) -> int:  # noqa: ANN401 - JSON
    """A size as image-spec has it (int64). True is an int to Python, and to nobody else."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("the size is no whole number of bytes")
    return value


def compose_index(children: tuple[Descriptor, ...], annotations: Mapping[str, str]) -> Manifest:
    """An OCI index over these image manifests; the same arguments give the same bytes."""
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [child.to_json() for child in sorted(children, key=lambda child: str(child.platform))],
        "annotations": dict(sorted(annotations.items())),
    }
    return Manifest(media_type=INDEX, content=json.dumps(document, separators=(",", ":")).encode())
