"""HTTP for everybody: sessions, patience, retries, downloads. Knows of no registry and no image."""
