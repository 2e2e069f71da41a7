"""Assembles images, with Docker's buildx or by ourselves; compiles in an image; loads images into Docker."""
