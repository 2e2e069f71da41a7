"""A run from end to end: adapters are put together, a job is prepared, and the stages follow one another. No stage's own work."""
