"""Tests of `builder.publish`."""
