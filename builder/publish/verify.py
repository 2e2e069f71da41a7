"""Reads back what a puller would get: every platform's manifest, configuration and layers behind a reference."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from builder.errors import VerifyError
from builder.images.pull import PulledImage, pull
from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, ImageReference
from builder.ports import RegistryReader, TagStore
from builder.publish.publication import Publication
from builder.runtime.text import counted

_PARALLEL = 8


def verify_content(publications: Sequence[Publication], registry: RegistryReader) -> tuple[PulledImage, ...]:
    """Read back, by digest, what a puller would get: every platform whole, in every repository.

    Raises VerifyError listing what is not so. No tag is looked at: they are moved once this holds.
    """
    wanted = {
        reference.repository.at(publication.index.digest): publication
        for publication in publications
        for reference in publication.references
    }
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        images = tuple(pool.map(lambda reference: pull(reference, registry), wanted))
    problems = [f"{image.reference}: {problem}" for image in images for problem in image.problems]
    if problems:
        raise VerifyError(
            "the hub does not serve what was uploaded; no tag has moved:\n" + "\n".join(f"  {line}" for line in problems),
            hint="A clean-up job of the registry may have removed it meanwhile: run the same again.",
        )
    return images


def verify_tags(publications: Sequence[Publication], tags: TagStore) -> None:
    """Read every tag back, after they have moved. Raises VerifyError saying which are not where they were put."""
    wanted = {reference: publication.index.digest for publication in publications for reference in publication.references}
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        found = dict(zip(wanted, pool.map(tags.get_manifest, wanted), strict=True))
    problems = [problem for reference, index in wanted.items() if (problem := _compare(reference, found[reference], index))]
    if problems:
        are = "is" if len(wanted) == 1 else "are"
        right = f"{len(wanted) - len(problems)} of {counted(len(wanted), 'tag')} {are} this release"
        raise VerifyError(
            f"all tags had moved, but {right}:\n" + "\n".join(f"  {problem}" for problem in problems),
            hint="Another run, or a clean-up job of the registry, has changed them meanwhile: run the same again.",
        )


def _compare(reference: ImageReference, found: Manifest | None, wanted: Digest) -> str:
    if found is None:
        return f"{reference} does not exist"
    return "" if found.digest == wanted else f"{reference} is {found.digest}, not {wanted}"
