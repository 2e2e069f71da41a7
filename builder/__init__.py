"""istio-build: rebuild Istio's images for your own registry, right on every architecture."""

__version__ = "0.1.0"
