"""`python -m tools.parity.images OURS THEIRS`: two pushed images, byte by byte: every file above the base, and the configuration.

Reads registries with the same client and credentials as istio-build; changes nothing.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from builder.errors import BuilderError
from builder.oci.reference import ImageReference
from builder.pipeline.wiring import Adapters
from builder.ports import RegistryReader
from builder.recipe.istio_release import IstioRelease
from builder.runtime.cancellation import Cancellation
from builder.runtime.text import format_table
from tools.parity.contents import Base, Pair, compare_pair, pull_platforms, read_pairs
from tools.parity.intended import INTENDED_FILE, excuse, read_intended
from tools.parity.model import CouldNotRead, Difference
from tools.parity.report import differences_json

_SHOWN_DIGITS = 12
# As tools/docker-builder puts them behind a tag.
_VARIANTS = ("debug", "distroless")


@click.command()
@click.argument("ours")
@click.argument("theirs")
@click.option("--base", help="The image that both stand on; by default, what both begin with is taken for it.")
@click.option("--base-layers", type=click.IntRange(min=0), help="How many layers are the base's.")
@click.option(
    "--intended", "intended_file", type=click.Path(path_type=Path), default=INTENDED_FILE, help="What is meant to differ."
)
@click.option("--insecure-registry", "insecure", multiple=True, help="A registry to speak to over plain HTTP.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def main(
    ours: str,
    theirs: str,
    base: str | None,
    base_layers: int | None,
    intended_file: Path,
    insecure: tuple[str, ...],
    form: str,
) -> None:
    """Compare an image of ours with Istio's; status 1 where anything differs that is not meant to."""
    if base and base_layers is not None:
        raise click.UsageError("--base and --base-layers say the same: give one of them.")
    cancellation = Cancellation()
    tools = Adapters(os.environ, cancellation, lambda _: None, insecure_registries=insecure)
    try:
        references = [ImageReference.parse(text) for text in (ours, theirs)]
        under = Base(reference=ImageReference.parse(base) if base else None, layers=base_layers)
        intended = read_intended(intended_file).images
        pairs, found = compare_images(references[0], references[1], under, tools.registry)
    except (BuilderError, CouldNotRead) as error:
        raise click.ClickException(str(error)) from error
    differences, _ = excuse(found, intended)
    lines = (
        [differences_json(differences)] if form == "json" else [*show_files(pairs, differences), *show_differences(differences)]
    )
    for line in lines:
        click.echo(line)
    sys.exit(1 if any(not difference.reason for difference in differences) else 0)


def compare_images(
    ours: ImageReference, theirs: ImageReference, base: Base, registry: RegistryReader
) -> tuple[tuple[Pair, ...], tuple[Difference, ...]]:
    """Both images on all platforms. Raises CouldNotRead, RegistryError."""
    release, image, variant = _release(theirs), theirs.repository.path.rpartition("/")[2], _variant(theirs)
    platforms = [" ".join(sorted(pull_platforms(reference, registry))) for reference in (theirs, ours)]
    pairs = tuple(read_pairs(ours, theirs, base, registry))
    differences = [difference for pair in pairs for difference in compare_pair(release, image, variant, pair)]
    if platforms[0] != platforms[1]:
        differences.append(
            Difference(release=release, image=image, variant=variant, field="platforms", theirs=platforms[0], ours=platforms[1])
        )
    return pairs, tuple(differences)


def show_files(pairs: Sequence[Pair], differences: Sequence[Difference]) -> list[str]:
    """The table of files: what each is on both sides, below it the layers that were not read."""
    rows = [("PLATFORM", "FILE", "SIZE", "MODE", "OWNER", "SHA256", "")]
    for pair in pairs:
        for path in sorted({*pair.theirs.entries, *pair.ours.entries}):
            entries = [side.entries.get(path) for side in (pair.theirs, pair.ours)]
            if all(entry is None or entry.kind == "directory" for entry in entries):
                continue
            own = [d for d in differences if d.platform == pair.platform and d.field.startswith(f"file.{path}.")]
            cells = [
                _both([str(getattr(entry, name))[:_SHOWN_DIGITS] if entry else "(none)" for entry in entries])
                for name in ("size", "mode", "owner", "sha256")
            ]
            rows.append((pair.platform, path, cells[0], cells[1], cells[2], cells[3], _verdict(own)))
    skipped = [
        f"{pair.platform}: the first {pair.ours.base_layers} layers are the base's" for pair in pairs if pair.ours.base_layers
    ]
    return [*format_table(rows), *skipped]


def show_differences(differences: Sequence[Difference]) -> Iterator[str]:
    """Each difference, those that are meant with the reason; then how many there are."""
    for difference in sorted(differences, key=lambda each: (bool(each.reason), each)):
        where = f" on {difference.platform}" if difference.platform else ""
        yield f"{difference.what}{where}  {difference.field}"
        yield f"    theirs  {difference.theirs or '(none)'}"
        yield f"    ours    {difference.ours or '(none)'}"
        if difference.reason:
            yield f"    reason  {difference.reason}"
    meant = sum(bool(difference.reason) for difference in differences)
    yield f"{len(differences) - meant} differences that are not intended, {meant} that are"


def _release(theirs: ImageReference) -> str:
    """The release that a tag such as `1.29.0-distroless` is of; empty where it is none, and then all entries may fit."""
    return theirs.tag if IstioRelease.parse(theirs.tag) else ""


def _variant(theirs: ImageReference) -> str:
    """The variant that a tag such as `1.29.0-distroless` names; empty where it names none."""
    suffix = theirs.tag.rpartition("-")[2]
    return suffix if suffix in _VARIANTS else ""


def _both(values: Sequence[str]) -> str:
    return values[0] if values[0] == values[1] else " / ".join(values)


def _verdict(differences: Sequence[Difference]) -> str:
    if not differences:
        return "same"
    return "intended" if all(difference.reason for difference in differences) else "DIFFERS"


if __name__ == "__main__":
    main()
