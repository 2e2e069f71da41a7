"""Adapters of Docker: buildx assembles images and compiles in one, the engine loads them."""
