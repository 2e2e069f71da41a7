"""The job that a schedule is for, as values."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from builder.errors import RequestError

NAME = "istio-build-nightly"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfDay:
    """When the job starts, each day."""

    hour: int
    minute: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of `03:17`. Raises RequestError."""
        found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
        if not found:
            raise RequestError(f"--at {text!r} is no time of day", hint="Write it as --at 03:17.")
        return cls(hour=int(found[1]), minute=int(found[2]))

    def __str__(self) -> str:
        return f"{self.hour:02}:{self.minute:02}"

    @property
    def cron(self) -> str:
        """As the first five fields of a crontab (crontab(5))."""
        return f"{self.minute} {self.hour} * * *"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPart:
    """A file that goes with the project: where it lies, relative to the project file, and its text or, of bytes, base64."""

    path: str
    kind: Literal["data", "binaryData"]
    text: str

    @property
    def key(self) -> str:
        """Its name in a ConfigMap, which may have no slash."""
        return re.sub(r"[^-._A-Za-z0-9]", "_", self.path.replace("/", "__"))


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyJob:
    """What a schedule is written of.

    `project` is the project file, `program` istio-build, both as the job finds them; `path` is what PATH is to be. `image` is
    what it runs in, and `install` what pip is given where there is none. `credentials` is where they are, never what they are;
    `variables` are the names of those that the project file wants to have from outside, such as addresses to notify.
    """

    project: str
    program: str
    time: TimeOfDay
    path: str = ""
    image: str = ""
    install: str = ""
    credentials: str = ""
    namespace: str = ""
    user: str = ""
    files: tuple[ProjectPart, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def at(self) -> str:
        """`03:17`."""
        return str(self.time)

    @property
    def cron(self) -> str:
        """`17 3 * * *`."""
        return self.time.cron

    @property
    def below_home(self) -> bool:
        """Whether it needs something of somebody's home."""
        return any(path.startswith(("/home/", "/root/", "/run/user/")) for path in (self.project, self.program))
