"""Sends layouts to hubs as one release: content by digest, then the tags, then a look at what is there. Builds nothing."""
