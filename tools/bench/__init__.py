"""Measures the main job against what it is made of; see `bench.__main__`."""
