"""Tests of `builder.net`."""
