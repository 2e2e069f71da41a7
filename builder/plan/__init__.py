"""Decides everything a run will do, from the request, the recipes and the lock. Pure: no clock, environment, disk or network."""
