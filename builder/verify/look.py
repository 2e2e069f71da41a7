"""Looks at one image of a hub as a puller does: its index, and each wanted platform's manifest, configuration and blobs.

No layer is fetched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from builder.errors import RegistryError
from builder.oci.manifest import CONFIG, INDEX_TYPES, Descriptor, ImageConfig, Manifest
from builder.oci.reference import ImageReference, Platform
from builder.runtime.text import counted
from builder.verify.findings import Finding, name_platform
from builder.verify.puller import Puller

_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
# What containerd takes for any machine of the architecture (platforms/database.go: normalizeArch; v8 is the first 64-bit ARM).
_EVERY_CPU = {"amd64": ("", "v1"), "arm64": ("", "v8")}
# Nothing that is made has more than one index in another.
_DEEPEST = 4
# Each is asked for. Images of Istio's have some ten of either; Docker takes 127 layers at most.
_MOST_ENTRIES = 500
_MOST_LAYERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLook:
    """What a puller gets on one platform. `readable` are the layers that are there, by what the registry says of them;
    `whole` says that these are all."""

    platform: Platform
    reference: ImageReference
    manifest: Manifest
    config: ImageConfig
    readable: tuple[Descriptor, ...]
    whole: bool

    @property
    def size(self) -> int:
        """Compressed bytes of all layers."""
        return sum(layer.size for layer in self.manifest.layers())


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What stands behind a reference, and what is wrong with it so far."""

    reference: ImageReference
    platforms: tuple[PlatformLook, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A line of an index, with the variant of the CPU that it is for."""

    descriptor: Descriptor
    variant: str

    @property
    def platform(self) -> Platform | None:
        return self.descriptor.platform

    @property
    def suits_every_cpu(self) -> bool:
        return self.platform is None or self.variant in _EVERY_CPU.get(self.platform.architecture, (self.variant,))

    def __str__(self) -> str:
        return f"{self.platform}/{self.variant}" if self.variant else str(self.platform)


class Looker:
    """Looks at one image. `reference` is what findings are told of; what it is bound to is `root`."""

    def __init__(self, reference: ImageReference, root: Manifest, puller: Puller) -> None:
        self._reference = reference
        self._root = root
        self._puller = puller
        self._findings: list[Finding] = []

    def look(self, wanted: Sequence[Platform]) -> Look:
        """Everything but the content of layers. Raises RegistryError where the registry itself fails."""
        platforms = self._look_at_index(wanted) if self._root.is_index else self._look_at_single(wanted)
        return Look(reference=self._reference, platforms=tuple(platforms), findings=tuple(self._findings))

    def _tell(self, kind: str, message: str, platform: Platform | None = None) -> None:
        self._findings.append(Finding(kind=kind, reference=self._reference, message=message, platform=name_platform(platform)))

    def _look_at_single(self, wanted: Sequence[Platform]) -> list[PlatformLook]:
        look = self._look_at_platform(self._root, None)
        if look is None:
            return []
        for platform in wanted:
            if platform != look.platform:
                what = f"it is a single image for {look.platform}, not an index of platforms"
                self._tell("missing-platform", f"lost {platform}: pushed by a tool that copies one platform ({what})", platform)
        return [look] if look.platform in wanted else []

    def _look_at_index(self, wanted: Sequence[Platform]) -> list[PlatformLook]:
        entries = list(islice(self._entries(self._root, 0), _MOST_ENTRIES + 1))
        if len(entries) > _MOST_ENTRIES:
            self._tell("corrupt-manifest", f"it lists more than {_MOST_ENTRIES} manifests, and is looked at no further")
            return []
        manifests = {entry.descriptor.digest: self._find(entry) for entry in entries}
        looks = []
        for platform in wanted:
            found = [entry for entry in entries if entry.platform == platform]
            self._judge_entries(platform, found, entries)
            manifest = manifests[found[0].descriptor.digest] if found else None
            look = self._look_at_platform(manifest, platform) if manifest else None
            if look:
                looks.append(look)
        return looks

    def _entries(self, index: Manifest, depth: int) -> Iterator[_Entry]:
        """All that an index lists, and what the indexes list that it lists."""
        children = index.children()
        variants = [_variant_of(entry) for entry in index.json().get("manifests") or ()]
        for child, variant in zip(children, variants, strict=True):
            entry = _Entry(descriptor=child, variant=variant)
            if child.media_type not in INDEX_TYPES:
                yield entry
                continue
            self._tell("nested-index", f"it lists the index {child.digest} where an image should be", child.platform)
            nested = self._find(entry)
            if nested and nested.is_index and depth < _DEEPEST:
                yield from self._entries(nested, depth + 1)

    def _find(self, entry: _Entry) -> Manifest | None:
        """The manifest that a line names."""
        child = entry.descriptor
        try:
            manifest = self._puller.manifest(self._reference.repository.at(child.digest))
        except RegistryError as error:
            if not error.damaged:
                raise
            self._tell("corrupt-manifest", error.message, child.platform)
            return None
        if manifest is None:
            self._tell("dangling-manifest", f"the index lists {child.digest}, which is not there", child.platform)
        elif len(manifest.content) != child.size:
            self._tell(
                "corrupt-manifest",
                f"the index says that {child.digest} has {child.size} bytes, and it has {len(manifest.content)}",
                child.platform,
            )
        return manifest

    def _judge_entries(self, platform: Platform, found: Sequence[_Entry], entries: Sequence[_Entry]) -> None:
        if not found:
            others = sorted({str(entry) for entry in entries if entry.descriptor.is_runnable})
            what = f"the index lists {', '.join(others)} only" if others else "the index lists no image at all"
            one = "pushed by a tool that copies one platform " if len(others) == 1 else ""
            self._tell("missing-platform", f"lost {platform}: {one}({what})", platform)
        if len({entry.descriptor.digest for entry in found}) > 1:
            listed = ", ".join(f"{entry} {entry.descriptor.digest.short}" for entry in found)
            self._tell("duplicate-platform", f"the index lists it {len(found)} times: {listed}", platform)
        if found and not any(entry.suits_every_cpu for entry in found):
            self._tell("wrong-variant", f"the index lists it as {found[0]} only, which not every node pulls", platform)

    def _look_at_platform(self, manifest: Manifest, platform: Platform | None) -> PlatformLook | None:
        reference = self._reference.repository.at(manifest.digest)
        try:
            if manifest.is_index:
                return None
            if manifest.config().media_type not in (CONFIG, _DOCKER_CONFIG):
                what = manifest.config().media_type or "of no type"
                self._tell("not-an-image", f"its configuration is {what}, not that of an image for containers", platform)
                return None
            config = self._find_config(manifest, platform)
            layers = manifest.layers()
            if len(layers) > _MOST_LAYERS:
                self._tell("corrupt-manifest", f"it has {len(layers)} layers, and is looked at no further", platform)
                return None
        except RegistryError as error:
            if not error.damaged:
                raise
            self._tell("corrupt-manifest", error.message, platform)
            return None
        if config is None:
            return None
        if platform and config.platform != platform:
            self._tell("wrong-platform", f"the index says {platform}, the image itself {config.platform}", platform)
        if len(config.diff_ids) != len(layers):
            count = f"{counted(len(layers), 'layer')}, and its configuration names {len(config.diff_ids)}"
            self._tell("wrong-diff-id", f"the manifest has {count}", platform)
        here = platform or config.platform
        readable = tuple(layer for layer in dict.fromkeys(layers) if self._is_there(layer, here))
        return PlatformLook(
            platform=here,
            reference=replace(reference, tag=self._reference.tag),
            manifest=manifest,
            config=config,
            readable=readable,
            whole=len(readable) == len(set(layers)),
        )

    def _find_config(self, manifest: Manifest, platform: Platform | None) -> ImageConfig | None:
        descriptor = manifest.config()
        try:
            return self._puller.config(self._reference.repository, descriptor)
        except RegistryError as error:
            if error.status != 404:
                raise
            self._tell("missing-blob", f"its configuration {descriptor.digest} is not there", platform)
            return None

    def _is_there(self, layer: Descriptor, platform: Platform) -> bool:
        """Whether the layer is there and as long as the manifest says."""
        if "foreign" in layer.media_type or "nondistributable" in layer.media_type:
            self._tell("foreign-layer", f"layer {layer.digest} is to be had elsewhere only ({layer.media_type})", platform)
            return False
        found = self._puller.find_blob(self._reference.repository, layer.digest)
        if found is None:
            self._tell("missing-blob", f"layer {layer.digest} is not there", platform)
        elif found.size is not None and found.size != layer.size:
            self._tell("corrupt-blob", f"layer {layer.digest} has {found.size} bytes, not {layer.size}", platform)
        else:
            return True
        return False


def _variant_of(entry: object) -> str:
    """The variant of the CPU that a line of an index is for, which `Platform` has no place for."""
    platform = entry.get("platform") if isinstance(entry, dict) else None
    variant = platform.get("variant") if isinstance(platform, dict) else None
    return variant if isinstance(variant, str) else ""
