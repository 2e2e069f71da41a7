"""Tests of `builder.registry`."""
