"""A user that is added to an image."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user with a group of the same name and number. `comment` is the fifth field of passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    comment: str = ""

    @property
    def command(self) -> str:
        """The command that adds it to an image, with its home: `useradd -m --uid 1338 application`."""
        home = "" if self.home == f"/home/{self.name}" else f"--home-dir {self.home} "
        return f"useradd -m {home}--uid {self.uid} {self.name}"
