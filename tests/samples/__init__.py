"""Values and files to test with; our own writing."""
