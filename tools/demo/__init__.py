"""`make demo`: the main job for real, on a machine with nothing but git and Python."""
