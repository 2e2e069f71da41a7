"""Tests that start programs or servers on this machine, but need no Docker engine."""
