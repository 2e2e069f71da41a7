"""Pushes through registries, networks and machines that fail: what must hold however they do is held against all that happens."""
