"""Tests of `builder.cli`."""
