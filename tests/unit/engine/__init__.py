"""Tests of `builder.engine`."""
