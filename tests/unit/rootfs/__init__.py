"""Tests of `builder.rootfs`."""
