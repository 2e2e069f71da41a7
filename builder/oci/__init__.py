"""Values and files of the OCI specifications: references, manifests, layouts, layers. Speaks to nobody."""
