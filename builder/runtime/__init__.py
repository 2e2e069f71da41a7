"""What everything runs on: interruption, locks, files that are whole, bounded readers, progress. Knows of nothing else here."""
