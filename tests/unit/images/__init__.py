"""Tests of `builder.images`."""
