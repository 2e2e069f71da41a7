"""The body of an upload, read from its file while it is sent, so that no blob is ever held in memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

from builder.net.session import CHUNK_BYTES


class Upload:
    """The body of an upload: a file, or what is left of it, that tells of what is read from it and can be read again.

    It has no `read`, for urllib3 would then ask for 16 KiB at a time. `on_bytes` is given what is sent; what has to be sent
    again is given back as a negative number, so that the sum is always what counts.
    """

    def __init__(self, path: Path, size: int, on_bytes: Callable[[int], None], check_interrupted: Callable[[], None]) -> None:
        self._path = path
        self._on_bytes = on_bytes
        self._check_interrupted = check_interrupted
        self._begin = 0
        self._sent = 0
        self.size = size

    def __len__(self) -> int:
        """How many bytes are to be sent."""
        return self.size - self._begin

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            file.seek(self._begin)
            while chunk := file.read(CHUNK_BYTES):
                self._check_interrupted()
                yield chunk
                # Counted when the next one is asked for: by then this one has left.
                self._reach(self._sent + len(chunk))

    def begin_at(self, offset: int) -> None:
        """What is before this offset is there; from now on the body is the rest."""
        self._begin = offset
        self._reach(offset)

    def tell(self) -> int:
        """Where a redirect has to start again, for `seek`: always at the body's beginning."""
        return 0

    def seek(self, _: int) -> None:
        """Start the body again, and take back what was told."""
        self._reach(self._begin)

    def _reach(self, offset: int) -> None:
        number = offset - self._sent
        if number:
            self._sent = offset
            self._on_bytes(number)
