"""Tests of `builder.explain`."""
