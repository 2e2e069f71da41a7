"""Makes reports of images, from what was pulled or from layouts."""

from collections.abc import Sequence

from builder.images.pull import PulledImage
from builder.oci.layout import Layout
from builder.oci.manifest import ImageConfig
from builder.pipeline.report import ImageReport, PlatformReport
from builder.plan.model import ImagePlan, MirrorPlan
from builder.publish.content import LayoutContent
from builder.publish.publication import Publication


def report_pulled(entry: Publication, pulled: Sequence[PulledImage], state: str) -> ImageReport:
    """An image as it was read back."""
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


def layout_platforms(layout: Layout) -> tuple[PlatformReport, ...]:
    """The platforms of a layout with their sizes."""
    reports = []
    for child in (child for child in layout.index().children() if child.is_runnable):
        manifest = layout.manifest(child)
        config = ImageConfig.parse(layout.read(manifest.config()))
        size = sum(layer.size for layer in manifest.layers())
        reports.append(PlatformReport(platform=config.platform, digest=child.digest, size=size))
    return tuple(reports)
