"""How layers are compressed: what each compression is called in a manifest, and which bytes exactly it gives."""

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MEDIA_TYPES = {"gzip": f"{_LAYER}+gzip", "zstd": f"{_LAYER}+zstd"}
# Part of the inputs that decide an image's bytes: to be changed with anything that changes what `builder.images.compress` gives.
# The number behind stands for how `builder.images.finish` writes configurations and manifests.
FORMATS = {"gzip": "libdeflate 5, members of 1 MiB; 2", "zstd": "zstd 3, with checksum; 2"}


UNCOMPRESSED = _LAYER
# What Docker calls its layers (https://distribution.github.io/distribution/spec/manifest-v2-2/), and what OCI calls the same.
_DOCKER_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": _LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{_LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": f"{_LAYER}+zstd",
}


def oci_media_type(media_type: str) -> str:
    """The name that OCI has for a type of layer; one that is OCI's already, or nobody's, stays as it is."""
    return _DOCKER_TYPES.get(media_type, media_type)


def layer_media_type(compression: str) -> str:
    """The media type of a layer so compressed (image-spec v1.1, layer.md)."""
    return _MEDIA_TYPES[compression]
