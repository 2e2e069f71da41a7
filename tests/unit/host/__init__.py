"""Tests of `builder.host`."""
