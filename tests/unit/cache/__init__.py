"""Tests of `builder.cache`."""
