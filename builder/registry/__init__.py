"""A client of OCI registries over HTTP, with Docker's credentials. Knows of no release."""
