"""Tests of `builder.verify`."""
