"""Reads the accounts of an image as its layers make them."""

from collections.abc import Sequence
from pathlib import Path

from builder.rootfs.inherited_accounts import find_account_files
from builder.rootfs.passwd import AccountFiles


def read_accounts(layers: Sequence[tuple[Path, str]]) -> AccountFiles:
    """The account files of an image, of its layers (blob and media type) from the base up."""
    found = find_account_files(layers)
    names = ("passwd", "group", "shadow", "gshadow")
    return AccountFiles(**{name: found[f"/etc/{name}"].content.decode() for name in names if f"/etc/{name}" in found})
