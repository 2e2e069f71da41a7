"""Tests of `builder.plan`."""
