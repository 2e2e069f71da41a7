"""Tests of `builder.doctor`."""
