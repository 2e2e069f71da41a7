"""Hubs as careless tools and damaged disks leave them: right ones, and one for each thing that can be wrong."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from builder.oci.manifest import (
    CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Descriptor,
    ImageConfig,
    Manifest,
)
from builder.oci.reference import Digest, ImageReference, Platform, Repository
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64, ARM64, SampleFile, compress, config_json, make_tar
from tests.samples.programs import make_go_program

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PATH = "/usr/local/bin/pilot-discovery"
PILOT = ImageConfig(platform=AMD64, user="1337:1337", entrypoint=(PATH,), env=(("PATH", "/usr/local/bin:/bin"),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that is at a hub, and the digest of what it unpacks to."""

    blob: Descriptor
    diff_id: str


class SampleHub:
    """Puts images into a fake registry without any of its checks."""

    def __init__(self, repository: Repository, registry: FakeRegistry | None = None) -> None:
        self.repository = repository
        self.registry = registry or FakeRegistry()

    def blob(self, content: bytes, media_type: str) -> Descriptor:
        descriptor = Descriptor(media_type=media_type, digest=Digest.of(content), size=len(content))
        self.registry.blobs[self.repository][descriptor.digest] = content
        return descriptor

    def layer(self, *files: SampleFile, compression: str = "gzip", media_type: str = "") -> Layer:
        tar = make_tar(files)
        content, natural = compress(tar, compression)
        return Layer(blob=self.blob(content, media_type or natural), diff_id=str(Digest.of(tar)))

    def manifest(self, document: Mapping[str, Any]) -> Descriptor:
        content = json.dumps({"schemaVersion": 2, **document}).encode()
        manifest = Manifest(media_type=document["mediaType"], content=content)
        self.registry.manifests[self.repository][str(manifest.digest)] = manifest
        return manifest.descriptor

    def image(self, config: ImageConfig, *layers: Layer, media_type: str = MANIFEST, config_type: str = CONFIG) -> Descriptor:
        blob = self.blob(config_json(config, [layer.diff_id for layer in layers]), config_type)
        document = {"mediaType": media_type, "config": blob.to_json(), "layers": [layer.blob.to_json() for layer in layers]}
        return self.manifest(document)

    def index(self, *children: Mapping[str, Any], media_type: str = INDEX) -> Descriptor:
        return self.manifest({"mediaType": media_type, "manifests": list(children)})

    def tag(self, descriptor: Descriptor, tag: str = "1.29.0") -> ImageReference:
        manifests = self.registry.manifests[self.repository]
        manifests[tag] = manifests[str(descriptor.digest)]
        return self.repository.at(tag)

    def pilot(self, platform: Platform, program: bytes = b"", **changes: Any) -> Descriptor:  # noqa: ANN401 - fields of the value
        """A pilot as Istio's recipe has it."""
        layer = self.layer(SampleFile(path=PATH, content=program or pilot_program(platform)))
        return self.image(replace(PILOT, platform=platform, **changes), layer)


def pilot_program(platform: Platform, version: str = "1.29.0") -> bytes:
    """What a release has at pilot's entrypoint."""
    return make_go_program(platform.architecture, stamps=(version, COMMIT, "docker.io/me"))


def entry(descriptor: Descriptor, platform: Platform, variant: str = "") -> dict[str, Any]:
    """A line of an index."""
    value = replace(descriptor, platform=platform).to_json()
    return {**value, "platform": {**value["platform"], **({"variant": variant} if variant else {})}}


def both(hub: SampleHub, amd64: Descriptor | None = None, arm64: Descriptor | None = None) -> ImageReference:
    """An index of a pilot for both platforms under the tag."""
    children = entry(amd64 or hub.pilot(AMD64), AMD64), entry(arm64 or hub.pilot(ARM64), ARM64)
    return hub.tag(hub.index(*children))


Make = Callable[[SampleHub], ImageReference]


def docker_types(hub: SampleHub) -> ImageReference:
    layer_type = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    children = []
    for platform in (AMD64, ARM64):
        layer = hub.layer(SampleFile(path=PATH, content=pilot_program(platform)), media_type=layer_type)
        config = replace(PILOT, platform=platform)
        image = hub.image(config, layer, media_type=DOCKER_MANIFEST, config_type="application/vnd.docker.container.image.v1+json")
        children.append(entry(image, platform))
    return hub.tag(hub.index(*children, media_type=DOCKER_INDEX))


def zstd_layers(hub: SampleHub) -> ImageReference:
    images = []
    for platform in (AMD64, ARM64):
        layer = hub.layer(SampleFile(path=PATH, content=pilot_program(platform)), compression="zstd")
        images.append(hub.image(replace(PILOT, platform=platform), layer))
    return both(hub, *images)


def with_variants(hub: SampleHub) -> ImageReference:
    return hub.tag(hub.index(entry(hub.pilot(AMD64), AMD64, "v1"), entry(hub.pilot(ARM64), ARM64, "v8")))


def with_attestations(hub: SampleHub) -> ImageReference:
    nothing = Platform("unknown", "unknown")
    statement = Layer(blob=hub.blob(b"{}", "application/vnd.in-toto+json"), diff_id=str(Digest.of(b"{}")))
    images = [entry(hub.pilot(platform), platform) for platform in (AMD64, ARM64)]
    attestation = hub.image(ImageConfig(platform=nothing), statement)
    return hub.tag(hub.index(*images, entry(attestation, nothing)))


def with_more_platforms(hub: SampleHub) -> ImageReference:
    others = [entry(hub.pilot(AMD64, b"\x7fELF none"), Platform("linux", "s390x"))]
    arm = entry(hub.pilot(AMD64, b"\x7fELF of none"), Platform("linux", "arm"), "v7")
    return hub.tag(hub.index(*(entry(hub.pilot(platform), platform) for platform in (AMD64, ARM64)), *others, arm))


def replaced_program(hub: SampleHub) -> ImageReference:
    """A layer below holds a program for the other machine, which the one above replaces; and one that it removes."""
    images = []
    for platform, other in ((AMD64, ARM64), (ARM64, AMD64)):
        old = pilot_program(other, "1.28.0")
        below = hub.layer(SampleFile(path=PATH, content=old), SampleFile(path="/opt/old", content=old))
        above = hub.layer(SampleFile(path=PATH, content=pilot_program(platform)), SampleFile(path="/opt/.wh.old", mode=0o644))
        images.append(hub.image(replace(PILOT, platform=platform), below, above))
    return both(hub, *images)


GOOD: Mapping[str, Make] = {
    "as pushed": both,
    "docker's media types": docker_types,
    "zstd": zstd_layers,
    "variants that every CPU has": with_variants,
    "attestations": with_attestations,
    "more platforms than wanted": with_more_platforms,
    "a program replaced by a layer above": replaced_program,
}


def only_one_platform(hub: SampleHub) -> ImageReference:
    return hub.tag(hub.index(entry(hub.pilot(AMD64), AMD64)))


def single_manifest(hub: SampleHub) -> ImageReference:
    return hub.tag(hub.pilot(AMD64))


def arm_v7_in_place_of_arm64(hub: SampleHub) -> ImageReference:
    seven = hub.pilot(ARM64)
    return hub.tag(hub.index(entry(hub.pilot(AMD64), AMD64), entry(seven, Platform("linux", "arm"), "v7")))


def arm64_of_a_newer_cpu(hub: SampleHub) -> ImageReference:
    return hub.tag(hub.index(entry(hub.pilot(AMD64), AMD64), entry(hub.pilot(ARM64), ARM64, "v9")))


def twice_listed(hub: SampleHub) -> ImageReference:
    old = hub.pilot(AMD64, user="0")
    return hub.tag(hub.index(*(entry(image, AMD64) for image in (hub.pilot(AMD64), old)), entry(hub.pilot(ARM64), ARM64)))


def amd64_program_in_arm64(hub: SampleHub) -> ImageReference:
    return both(hub, arm64=hub.pilot(ARM64, pilot_program(AMD64, "1.29.0") + b"another build"))


def same_program_in_both(hub: SampleHub) -> ImageReference:
    return both(hub, arm64=hub.pilot(ARM64, pilot_program(AMD64)))


def foreign_program_in_the_base(hub: SampleHub) -> ImageReference:
    base = hub.layer(SampleFile(path="/bin/tar", content=make_go_program("amd64", package="tar")))
    own = hub.layer(SampleFile(path=PATH, content=pilot_program(ARM64)))
    return both(hub, arm64=hub.image(replace(PILOT, platform=ARM64), base, own))


def same_image_for_both(hub: SampleHub) -> ImageReference:
    return both(hub, arm64=hub.pilot(AMD64))


def dangling(hub: SampleHub) -> ImageReference:
    arm64 = hub.pilot(ARM64)
    reference = both(hub, arm64=arm64)
    del hub.registry.manifests[hub.repository][str(arm64.digest)]
    return reference


def manifest_of_another_size(hub: SampleHub) -> ImageReference:
    arm64 = hub.pilot(ARM64)
    return both(hub, arm64=replace(arm64, size=arm64.size + 1))


def layer_of(hub: SampleHub, image: Descriptor) -> Descriptor:
    return hub.registry.manifests[hub.repository][str(image.digest)].layers()[0]


def missing_layer(hub: SampleHub) -> ImageReference:
    arm64 = hub.pilot(ARM64)
    del hub.registry.blobs[hub.repository][layer_of(hub, arm64).digest]
    return both(hub, arm64=arm64)


def missing_configuration(hub: SampleHub) -> ImageReference:
    arm64 = hub.pilot(ARM64)
    config = hub.registry.manifests[hub.repository][str(arm64.digest)].config()
    del hub.registry.blobs[hub.repository][config.digest]
    return both(hub, arm64=arm64)


def truncated_layer(hub: SampleHub) -> ImageReference:
    arm64 = hub.pilot(ARM64)
    blobs, layer = hub.registry.blobs[hub.repository], layer_of(hub, arm64)
    blobs[layer.digest] = blobs[layer.digest][:-10]
    return both(hub, arm64=arm64)


def altered_layer(hub: SampleHub) -> ImageReference:
    arm64 = hub.pilot(ARM64)
    blobs, layer = hub.registry.blobs[hub.repository], layer_of(hub, arm64)
    blobs[layer.digest] = bytes(len(blobs[layer.digest]))
    return both(hub, arm64=arm64)


def altered_configuration(hub: SampleHub) -> ImageReference:
    arm64 = hub.pilot(ARM64)
    config = hub.registry.manifests[hub.repository][str(arm64.digest)].config()
    hub.registry.blobs[hub.repository][config.digest] = b"{}"
    return both(hub, arm64=arm64)


def layer_that_is_none(hub: SampleHub) -> ImageReference:
    """Cut before it was pushed, so that its digest is right."""
    whole = hub.layer(SampleFile(path=PATH, content=pilot_program(ARM64)))
    cut = hub.blob(hub.registry.blobs[hub.repository][whole.blob.digest][:-20], whole.blob.media_type)
    return both(hub, arm64=hub.image(replace(PILOT, platform=ARM64), replace(whole, blob=cut)))


def other_layer_than_configured(hub: SampleHub) -> ImageReference:
    layer = hub.layer(SampleFile(path=PATH, content=pilot_program(ARM64)))
    return both(hub, arm64=hub.image(replace(PILOT, platform=ARM64), replace(layer, diff_id=str(Digest.of(b"other")))))


def artifact(hub: SampleHub) -> ImageReference:
    chart = hub.layer(SampleFile(path="Chart.yaml", content=b"name: istiod\n"))
    return hub.tag(hub.image(PILOT, chart, config_type="application/vnd.cncf.helm.config.v1+json"))


def foreign_layer(hub: SampleHub) -> ImageReference:
    elsewhere = hub.layer(SampleFile(path="/big"), media_type="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    del hub.registry.blobs[hub.repository][elsewhere.blob.digest]
    own = hub.layer(SampleFile(path=PATH, content=pilot_program(ARM64)))
    return both(hub, arm64=hub.image(replace(PILOT, platform=ARM64), elsewhere, own))


def nested(hub: SampleHub) -> ImageReference:
    inner = hub.index(entry(hub.pilot(AMD64), AMD64), entry(hub.pilot(ARM64), ARM64))
    return hub.tag(hub.index(inner.to_json()))


# Each with the kinds that it is to be told as, and no others.
WRONG: Mapping[str, tuple[Make, Sequence[str]]] = {
    "index with one platform": (only_one_platform, ["missing-platform"]),
    "manifest in place of an index": (single_manifest, ["missing-platform"]),
    "arm/v7 in place of arm64": (arm_v7_in_place_of_arm64, ["missing-platform"]),
    "arm64 of a newer CPU": (arm64_of_a_newer_cpu, ["wrong-variant"]),
    "a platform twice": (twice_listed, ["duplicate-platform"]),
    "amd64 program in arm64": (amd64_program_in_arm64, ["wrong-architecture"]),
    "same program in both": (same_program_in_both, ["wrong-architecture", "same-program"]),
    "amd64 program in arm64's base": (foreign_program_in_the_base, ["wrong-architecture"]),
    "same image for both": (same_image_for_both, ["wrong-platform", "wrong-architecture", "same-program"]),
    "dangling manifest": (dangling, ["dangling-manifest"]),
    "manifest of another size": (manifest_of_another_size, ["corrupt-manifest"]),
    "missing layer": (missing_layer, ["missing-blob"]),
    "missing configuration": (missing_configuration, ["missing-blob"]),
    "truncated layer": (truncated_layer, ["corrupt-blob"]),
    "altered layer": (altered_layer, ["corrupt-blob"]),
    "altered configuration": (altered_configuration, ["corrupt-manifest"]),
    "a layer that is none": (layer_that_is_none, ["corrupt-blob"]),
    "another layer than configured": (other_layer_than_configured, ["wrong-diff-id"]),
    "an artifact": (artifact, ["not-an-image"]),
    "foreign layer": (foreign_layer, ["foreign-layer"]),
    "nested index": (nested, ["nested-index"]),
}
