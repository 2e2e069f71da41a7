"""What everything runs on: interruption, groups of tasks, retries, locks, whole files, bounded readers, progress.

Knows of nothing else here.
"""
