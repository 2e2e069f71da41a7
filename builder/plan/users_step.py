"""What is to be done to add users to an image: to which base image, on which platform, and whom."""

from dataclasses import dataclass

from builder.oci.reference import ImageReference, Platform
from builder.plan.user import User


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersStep:
    """Add these users to the accounts of this base, which is bound to the manifest for this platform.

    `mtime` is the time of what is written, in seconds since 1970.
    """

    base: ImageReference
    platform: Platform
    users: tuple[User, ...]
    mtime: int

    def identity(self) -> list[object]:
        """Everything that decides the layer's bytes, as JSON values; the base by its digest, wherever it comes from."""
        users = [[user.name, user.uid, user.gid, user.home, user.shell] for user in self.users]
        return [str(self.base.digest), users, self.mtime]
