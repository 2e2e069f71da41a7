"""Tests of `builder.oci`."""
