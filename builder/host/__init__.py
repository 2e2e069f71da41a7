"""Adapters of this machine: processes, git, Go, apt. Knows of no image."""
