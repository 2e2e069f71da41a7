"""Looks, before a run, at all that it will need: each check by itself, in a bounded time, changing nothing."""
