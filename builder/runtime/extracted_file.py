"""Files that were made of something else and are kept: with their own sum beside them, so that damage is noticed."""

from pathlib import Path

from builder.runtime.atomic_file import has_sha256, sum_file, whole_file


def is_intact(path: Path) -> bool:
    """Whether the file is there, and is what it was when its sum was kept."""
    recorded = recorded_sum(path)
    return bool(recorded) and has_sha256(path, recorded)


def recorded_sum(path: Path) -> str:
    """The sum that was kept, 64 hex digits; "" where there is none."""
    try:
        return _record(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def keep_sum(path: Path, sha256: str = "") -> None:
    """Write down what the file is now; `sha256` where that is known."""
    with whole_file(_record(path)) as partial:
        partial.write_text(f"{sha256 or sum_file(path)}\n", encoding="ascii")


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sum")
