"""A blob on its way from a registry to the disk, over as many requests as it takes (distribution-spec, "Pulling blobs")."""

from collections.abc import Callable, Mapping

from builder.errors import RegistryError
from builder.net.partial_file import PartialFile
from builder.oci.manifest import Descriptor
from builder.runtime.retry import RetryableError


class BlobPull:
    """Fills a part. `on_bytes` is given what has come, and a negative number for what has to come again."""

    def __init__(self, act: str, descriptor: Descriptor, part: PartialFile, on_bytes: Callable[[int], None]) -> None:
        self.act = act
        self._descriptor = descriptor
        self._part = part
        self._on_bytes = on_bytes
        self._resumed = part.size > 0
        self._furthest = part.size
        if part.size:
            on_bytes(part.size)
        if part.size > descriptor.size:
            self._clear()

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be asked for; an empty blob has to be asked for just to see that it is there."""
        return 0 < self._descriptor.size == self._part.size

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Make the part fit an answer whose body comes now. Raises RetryableError for another range than we asked for."""
        if status == 206:
            if self._part.total_size(headers) is None:
                self._clear()
                raise RetryableError(RegistryError(f"cannot {self.act}: the registry sent another range", temporary=True))
            return
        self._clear()

    def take(self, chunk: bytes) -> None:
        """Some more of the body. Raises RegistryError, with nothing kept, once it is more than the blob's size.

        Such a body may have no end, and the disk has one.
        """
        if self._part.size + len(chunk) > self._descriptor.size:
            self._clear()
            raise RegistryError(
                f"cannot {self.act}: the registry sent more than the {self._descriptor.size} bytes that it should have",
                hint="A proxy or cache may alter answers on the way, or the registry's storage is damaged.",
                damaged=True,
            )
        self._part.append(chunk)
        self._on_bytes(len(chunk))

    def refuse_range(self) -> None:
        """The registry has nothing from there on (416), though it should: start from the beginning. Raises RetryableError."""
        self._clear()
        raise RetryableError(RegistryError(f"cannot {self.act}: the registry does not send the rest", temporary=True))

    def has_advanced(self) -> bool:
        """Whether there is more now than there ever was when this was asked."""
        before, self._furthest = self._furthest, max(self._furthest, self._part.size)
        return self._part.size > before

    def check(self) -> None:
        """Raises RetryableError where something is missing yet, RegistryError where it is not what its digest says."""
        have, whole = self._part.size, self._descriptor.size
        if have < whole:
            message = f"cannot {self.act}: the connection ended after {have} of {whole} bytes"
            raise RetryableError(RegistryError(message, temporary=True))
        found = f"sha256:{self._part.hexdigest()}"
        if found == str(self._descriptor.digest):
            return
        self._clear()
        error = RegistryError(
            f"cannot {self.act}: the registry sent other bytes, {found}",
            hint="A proxy or cache may alter answers on the way, or the registry's storage is damaged.",
            damaged=True,
        )
        if self._resumed:
            # The beginning is of an earlier run and may be damaged: it gets one chance from the start.
            self._resumed = False
            raise RetryableError(error)
        raise error

    def _clear(self) -> None:
        if self._part.size:
            self._on_bytes(-self._part.size)
        self._part.clear()
