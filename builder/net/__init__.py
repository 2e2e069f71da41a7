"""HTTP for everybody: sessions, patience, downloads. Knows of no registry and no image."""
