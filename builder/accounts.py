"""Accounts as text: adds users to passwd, group and shadow as `useradd` does, without running it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SHADOW_GROUP = 42
_DAY = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user with a group of the same name and number. `comment` is the fifth field of passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFiles:
    """The texts of /etc/passwd, /etc/group, /etc/shadow and /etc/gshadow; "" where an image has none."""

    passwd: str = ""
    group: str = ""
    shadow: str = ""
    gshadow: str = ""

    def to_files(self) -> Mapping[str, tuple[str, int, int]]:
        """Text, mode and group by path, without those that are empty."""
        files = {
            "/etc/group": (self.group, 0o644, 0),
            "/etc/gshadow": (self.gshadow, 0o640, SHADOW_GROUP),
            "/etc/passwd": (self.passwd, 0o644, 0),
            "/etc/shadow": (self.shadow, 0o640, SHADOW_GROUP),
        }
        return {path: entry for path, entry in files.items() if entry[0]}


def read_masters(passwd: str, group: str, changed_at: int) -> AccountFiles:
    """The accounts of base-passwd's master files, with passwords moved to shadow as `shadowconfig on` does."""
    users = [line.split(":") for line in passwd.splitlines() if line]
    groups = [line.split(":") for line in group.splitlines() if line]
    return AccountFiles(
        passwd="".join(":".join([name, "x", *rest]) + "\n" for name, _, *rest in users),
        group="".join(":".join([name, "x", *rest]) + "\n" for name, _, *rest in groups),
        shadow="".join(f"{name}:*:{changed_at // _DAY}:0:99999:7:::\n" for name, *_ in users),
        gshadow="".join(f"{name}:*::{members}\n" for name, _, _, members in groups),
    )


def add_users(files: AccountFiles, users: Sequence[User], changed_at: int) -> AccountFiles:
    """The files with these users and their groups, each unless there; shadow files stay absent where they are.

    Raises ValueError where a name or a number is somebody else's.
    """
    for user in users:
        files = _add_user(files, user, changed_at // _DAY)
    return files


def _add_user(files: AccountFiles, user: User, day: int) -> AccountFiles:
    line = f"{user.name}:x:{user.uid}:{user.gid}:{user.comment}:{user.home}:{user.shell}\n"
    has_shadow, has_gshadow = bool(files.shadow), bool(files.gshadow)
    new_user = _is_new(files.passwd, user.name, user.uid, "user")
    # Several users may share a group that is there, as _apt does nogroup.
    own_group = not _has_number(files.group, user.gid)
    new_group = own_group and _is_new(files.group, user.name, user.gid, "group")
    return AccountFiles(
        passwd=files.passwd + (line if new_user else ""),
        group=files.group + (f"{user.name}:x:{user.gid}:\n" if new_group else ""),
        shadow=files.shadow + (f"{user.name}:!:{day}:0:99999:7:::\n" if new_user and has_shadow else ""),
        gshadow=files.gshadow + (f"{user.name}:!::\n" if new_group and has_gshadow else ""),
    )


def _has_number(text: str, number: int) -> bool:
    return any(line.split(":")[2:3] == [str(number)] for line in text.splitlines())


def _is_new(text: str, name: str, number: int, kind: str) -> bool:
    for line in text.splitlines():
        found, _, found_number, *_ = [*line.split(":"), "", "", ""]
        if found == name and found_number == str(number):
            return False
        if found == name or found_number == str(number):
            raise ValueError(f"{kind} {name} ({number}) cannot be added: there is {found} ({found_number})")
    return True
