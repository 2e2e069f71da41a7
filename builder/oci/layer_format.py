"""How layers are compressed: what each compression is called in a manifest, and which bytes exactly it gives."""

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MEDIA_TYPES = {"gzip": f"{_LAYER}+gzip", "zstd": f"{_LAYER}+zstd"}
# Part of the inputs that decide an image's bytes: to be changed with anything that changes what `builder.images.compress` gives.
FORMATS = {"gzip": "libdeflate 6, members of 1 MiB", "zstd": "zstd 3, with checksum"}


def layer_media_type(compression: str) -> str:
    """The media type of a layer so compressed (image-spec v1.1, layer.md)."""
    return _MEDIA_TYPES[compression]
