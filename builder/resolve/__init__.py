"""Looks up what a request leaves open (bases, artifacts, packages, Go, the source) and binds it in a lock. Only reads."""
