"""Accounts as text: adds users to passwd, group and shadow as `useradd` does, without running it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.plan.user import User

SHADOW_GROUP = 42
_DAY = 86400
# /etc/login.defs of Debian and Ubuntu: SUB_UID_MIN, SUB_UID_COUNT, and the numbers of people (UID_MIN to UID_MAX).
_SUBORDINATE_START = 100_000
_SUBORDINATE_COUNT = 65_536
_PEOPLE = range(1000, 60_001)


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
    """The accounts of base-passwd's master files, with passwords moved to shadow as `shadowconfig on` does.

    Raises ValueError for a line that is no account's.
    """
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


def add_subordinate_ids(text: str, users: Sequence[User]) -> str:
    """The text of /etc/subuid or /etc/subgid with the first free range of numbers for each user that has none there.

    As useradd does with the /etc/login.defs that Debian and Ubuntu have (find_free_range in subordinateio.c of shadow);
    users of the system get none.
    """
    for user in users:
        lines = [line.split(":") for line in text.splitlines() if line.count(":") == 2]
        if user.uid in _PEOPLE and all(name != user.name for name, *_ in lines):
            taken = sorted((int(start), int(count)) for _, start, count in lines if _is_number(start) and _is_number(count))
            text += f"{user.name}:{_free_range(taken)}:{_SUBORDINATE_COUNT}\n"
    return text


def _is_number(text: str) -> bool:
    """Whether it can be one of Linux's, which have 32 bits."""
    return text.isdecimal() and len(text) <= 10


def _free_range(taken: Sequence[tuple[int, int]]) -> int:
    low = _SUBORDINATE_START
    for start, count in taken:
        if start - low >= _SUBORDINATE_COUNT:
            break
        low = max(low, start + count)
    return low


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
