"""Makes reports of images, from what was pulled or from layouts."""

from collections.abc import Iterable, Mapping, Sequence

from builder.images.pull import PulledImage
from builder.oci.layout import Layout
from builder.oci.manifest import ImageConfig, Manifest
from builder.oci.reference import ImageReference
from builder.pipeline.report import ImageReport, MovedTag, PlatformReport
from builder.plan.model import PATCHES_ANNOTATION, ImagePlan, MirrorPlan
from builder.publish.content import LayoutContent
from builder.publish.publication import Publication
from builder.publish.put_back import digest_of


def report_pulled(
    entry: Publication, pulled: Sequence[PulledImage], state: str, before: Mapping[ImageReference, Manifest | None]
) -> ImageReport:
    """An image as it was read back. `before` is where tags were, of the hubs at which any has moved."""
    image = next(image for image in pulled if image.index and image.index.digest == entry.index.digest)
    platforms = tuple(
        PlatformReport(platform=platform.platform, digest=platform.manifest.digest, size=platform.size)
        for platform in image.platforms
    )
    return ImageReport(
        key=entry.key,
        references=entry.references,
        digest=entry.index.digest,
        platforms=platforms,
        state=state,
        layout=str(entry.content.layout.root) if isinstance(entry.content, LayoutContent) else "",
        moved=tuple(
            MovedTag(reference=reference, before=digest_of(before[reference]))
            for reference in entry.references
            if reference in before and digest_of(before[reference]) != entry.index.digest
        ),
    )


def report_layout(image: ImagePlan | MirrorPlan, layout: Layout, state: str) -> ImageReport:
    """An image as it was built."""
    index = layout.index()
    return ImageReport(
        key=image.key,
        references=image.references,
        digest=index.digest,
        platforms=layout_platforms(layout),
        state=state,
        layout=str(layout.root),
    )


def patches_of(annotations: Iterable[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    """The patches that the annotations of indexes tell of, each its name and `sha256:…`; those of a release are the same."""
    texts = dict.fromkeys(noted.get(PATCHES_ANNOTATION, "") for noted in annotations)
    pairs = (entry.partition("=") for text in texts for entry in text.split())
    return tuple(dict.fromkeys((name, digest) for name, _, digest in pairs))


def layout_platforms(layout: Layout) -> tuple[PlatformReport, ...]:
    """The platforms of a layout with their sizes."""
    reports = []
    for child in (child for child in layout.index().children() if child.is_runnable):
        manifest = layout.manifest(child)
        config = ImageConfig.parse(layout.read(manifest.config()))
        size = sum(layer.size for layer in manifest.layers())
        reports.append(PlatformReport(platform=config.platform, digest=child.digest, size=size))
    return tuple(reports)
