"""The main jobs for real: they need what `tools/engine up` provides."""
