"""Unit tests of `builder/report`."""
