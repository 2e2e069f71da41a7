"""Tests of `builder.runtime`."""
