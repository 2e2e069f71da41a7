"""Tests of `builder.build`."""
