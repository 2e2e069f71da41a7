"""A release as `build` leaves it in a directory, made without building anything: for `push --from`."""

from pathlib import Path

from builder.images.layout_notes import LayoutNotes
from builder.oci.layout import Layout
from builder.oci.reference import Hub
from builder.plan.fingerprint import join_fingerprints
from builder.plan.model import FINGERPRINT_ANNOTATION
from builder.publish.release_file import ListedImage, ReleaseFile
from tests.samples.images import AMD64, ARM64, BASE_LAYER, SampleFile, add_image, make_config, make_tar, write_image_index
from tests.samples.programs import make_elf

# Of a version that is no release of Istio's, so that no recipe says what has to be in them.
VERSION = "v1"
# With whether it is the variant that has no suffix.
IMAGES = (("pilot", "debug", True), ("pilot", "distroless", False), ("proxyv2", "debug", True))
TAGS = {"pilot": ("v1", "v1-debug", "v1-distroless"), "proxyv2": ("v1", "v1-debug")}


def write_release(directory: Path, hub: str, content: str = "one", size: int = 0) -> None:
    """Three images of two platforms each, which share their base; `size` is how large each one's own layer is, in bytes."""
    listed = [_write_image(directory, Hub.parse(hub), *image, content=content, size=size) for image in IMAGES]
    release = ReleaseFile(version=VERSION, hub=hub, made=(), images=tuple(listed))
    release.write(directory)


def _write_image(root: Path, hub: Hub, image: str, variant: str, is_default: bool, *, content: str, size: int) -> ListedImage:
    layout = Layout(root / f"{image}-{variant}")
    said = f"{image} {variant} {content}".encode()
    images = {
        platform: add_image(
            layout,
            make_config(platform),
            [
                BASE_LAYER,
                make_tar(
                    [
                        SampleFile(path="/a", content=make_elf(platform.architecture) + said),
                        SampleFile(path="/b", content=bytes(size), mode=0o644),
                    ]
                ),
            ],
            "none",
        )
        for platform in (AMD64, ARM64)
    }
    inputs = {str(platform): f"{content} {image} {variant} {platform}" for platform in images}
    annotations = {
        "org.opencontainers.image.title": image,
        "org.opencontainers.image.version": VERSION,
        FINGERPRINT_ANNOTATION: join_fingerprints(inputs),
    }
    tags = (*((VERSION,) if is_default else ()), f"{VERSION}-{variant}")
    notes = LayoutNotes(
        image=image,
        variant=variant,
        is_default=is_default,
        version=VERSION,
        hub=str(hub),
        references=tuple(hub.repository(image).at(tag) for tag in tags),
    )
    written = write_image_index(layout.root, images, dict(notes.to_json()), annotations)
    return ListedImage(image=image, variant=variant, digest=written.index().digest, inputs=tuple(sorted(inputs.items())))
