"""Looks at a hub as a puller does, and says what is wrong with it; changes nothing."""
