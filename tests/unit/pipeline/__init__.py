"""Tests of `builder.pipeline`."""
