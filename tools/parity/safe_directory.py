"""Lets git read a work tree that another user owns, without changing anybody's configuration."""

from pathlib import Path


def trust_directory(directory: Path) -> dict[str, str]:
    """Environment that lets git (and Go, which asks git) read this one tree although another user owns it."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": str(directory.resolve()),
    }
