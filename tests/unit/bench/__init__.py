"""The benchmark: what it counts, checks, works out and draws. What it measures is no test."""
