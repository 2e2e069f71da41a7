"""Compiles, fetches, assembles and mirrors, side by side, into OCI image layouts. Sends nothing anywhere."""
