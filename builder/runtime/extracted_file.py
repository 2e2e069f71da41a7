"""Files that were made of something else and are kept: with their own sum beside them, so that damage is noticed."""

from pathlib import Path

from builder.runtime.atomic_file import has_sha256, sum_file, whole_file


def is_intact(path: Path) -> bool:
    """Whether the file is there, and is what it was when its sum was kept."""
    try:
        recorded = _record(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return has_sha256(path, recorded)


def keep_sum(path: Path) -> None:
    """Write down what the file is now."""
    with whole_file(_record(path)) as partial:
        partial.write_text(f"{sum_file(path)}\n", encoding="ascii")


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sum")
