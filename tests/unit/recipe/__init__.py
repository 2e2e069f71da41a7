"""Tests of `builder.recipe`."""
