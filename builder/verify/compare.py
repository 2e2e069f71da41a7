"""Compares an image with the one of the same name elsewhere: Istio's own, or that of another hub. No layer is fetched."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from builder.errors import RegistryError
from builder.oci.manifest import ImageConfig
from builder.oci.reference import ImageReference, Platform
from builder.runtime.text import counted
from builder.verify.findings import Finding
from builder.verify.look import Looker, PlatformLook
from builder.verify.puller import Puller

State = Literal["same", "differs", "absent", "not compared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An image beside another: `differences` are said of the first one; `reason` says why they were not compared."""

    reference: ImageReference
    other: ImageReference
    state: State
    differences: tuple[str, ...] = ()
    reason: str = ""


class Originals:
    """The images of another hub that ours are compared with. A registry that does not answer is asked once."""

    def __init__(self, puller: Puller) -> None:
        self._puller = puller
        self._silent = ""

    def compare(self, reference: ImageReference, ours: Sequence[PlatformLook], digest: str, other: ImageReference) -> Comparison:
        """Our image beside the other. Whatever goes wrong with the other one is no fault of ours, and told."""
        if self._silent:
            return Comparison(reference=reference, other=other, state="not compared", reason=self._silent)
        try:
            root = self._puller.manifest(other)
            if root is None:
                return Comparison(reference=reference, other=other, state="absent")
            if str(root.digest) == digest:
                return Comparison(reference=reference, other=other, state="same")
            wanted = [look.platform for look in ours]
            theirs = Looker(other, root, self._puller).look(wanted).platforms
        except RegistryError as error:
            if error.status == 0 and not error.damaged:
                self._silent = error.message
            return Comparison(reference=reference, other=other, state="not compared", reason=error.message)
        differences = tuple(_differences(ours, {look.platform: look for look in theirs}))
        return Comparison(reference=reference, other=other, state="differs", differences=differences)


def compare_hubs(images: Mapping[ImageReference, str]) -> Iterator[Finding]:
    """The same image and tag at several hubs, given with their digests, must be the same."""
    (first, digest), *others = images.items()
    for reference, found in others:
        if found != digest:
            message = f"it is {found[:19]}, and {first} is {digest[:19]}"
            yield Finding(kind="hubs-differ", reference=reference, message=message)


def _differences(ours: Sequence[PlatformLook], theirs: Mapping[Platform, PlatformLook]) -> Iterator[str]:
    for look in ours:
        other = theirs.get(look.platform)
        if other is None:
            yield f"{look.platform}: the other one lacks it"
            continue
        for name, own, original in _facts(look.config, other.config):
            if own != original:
                yield f"{look.platform}: {name} is {own!r}, and {original!r} there"
        own_layers = [layer.digest for layer in look.manifest.layers()]
        shared = {layer.digest for layer in other.manifest.layers()} & set(own_layers)
        are = "is" if len(own_layers) == 1 else "are"
        yield f"{look.platform}: {len(shared)} of {counted(len(own_layers), 'layer')} {are} the same"


def _facts(own: ImageConfig, other: ImageConfig) -> Iterator[tuple[str, object, object]]:
    yield "user", own.user, other.user
    yield "entrypoint", list(own.entrypoint), list(other.entrypoint)
    yield "command", list(own.command), list(other.command)
    yield "working directory", own.working_dir or "/", other.working_dir or "/"
    for kind, mine, theirs in (("env", dict(own.env), dict(other.env)), ("label", dict(own.labels), dict(other.labels))):
        for name in sorted(mine.keys() | theirs.keys()):
            yield f"{kind} {name}", mine.get(name, "unset"), theirs.get(name, "unset")
