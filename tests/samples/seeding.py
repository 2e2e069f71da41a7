"""Puts the image of a layout into a registry, fake or real, as another tool has done before us."""

from functools import partial

from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.reference import ImageReference
from builder.ports import Registry


def seed(registry: Registry, layout: Layout, reference: ImageReference) -> Manifest:
    """Push what the layout is about under this reference; gives its index or manifest."""
    root = layout.manifest(layout.root_descriptor()[0])
    for manifest in [layout.manifest(child) for child in root.children()] if root.is_index else [root]:
        for blob in (manifest.config(), *manifest.layers()):
            registry.push_blob(reference.repository, blob, partial(layout.blob, blob.digest))
        registry.put_manifest(reference.repository, manifest)
    if reference.tag:
        registry.put_tag(reference, root)
    else:
        registry.put_manifest(reference.repository, root)
    return root
