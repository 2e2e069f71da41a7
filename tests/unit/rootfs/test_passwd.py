"""Accounts: what `useradd` would have written."""

import pytest

from builder.plan.user import User
from builder.rootfs.passwd import AccountFiles, add_subordinate_ids, add_users, read_masters

DAY = 20_000
PROXY = User(name="istio-proxy", uid=1337, gid=1337, home="/home/istio-proxy", shell="/bin/sh")
FILES = read_masters("root:*:0:0:root:/root:/bin/bash\n", "root:*:0:\nsudo:*:27:me\nnogroup:*:65534:\n", DAY * 86400)


def test_passwords_of_the_master_files_go_into_shadow() -> None:
    assert FILES.passwd == "root:x:0:0:root:/root:/bin/bash\n"
    assert FILES.shadow == "root:*:20000:0:99999:7:::\n"
    assert FILES.group.splitlines() == ["root:x:0:", "sudo:x:27:me", "nogroup:x:65534:"]
    assert FILES.gshadow.splitlines() == ["root:*::", "sudo:*::me", "nogroup:*::"]


def test_a_user_comes_with_a_group_and_no_password() -> None:
    files = add_users(FILES, [PROXY], DAY * 86400)
    assert files.passwd.splitlines()[-1] == "istio-proxy:x:1337:1337::/home/istio-proxy:/bin/sh"
    assert files.group.splitlines()[-1] == "istio-proxy:x:1337:"
    assert files.shadow.splitlines()[-1] == "istio-proxy:!:20000:0:99999:7:::"
    assert files.gshadow.splitlines()[-1] == "istio-proxy:!::"


def test_a_group_that_is_there_is_shared() -> None:
    apt = User(name="_apt", uid=42, gid=65534, home="/nonexistent", shell="/usr/sbin/nologin")
    files = add_users(FILES, [apt], 0)
    assert "_apt:x:42:65534:" in files.passwd
    assert files.group == FILES.group


def test_an_image_without_shadow_gets_none() -> None:
    files = add_users(AccountFiles(), [PROXY], 0)
    assert (files.shadow, files.gshadow) == ("", "")
    assert sorted(files.to_files()) == ["/etc/group", "/etc/passwd"]


def test_a_user_that_is_there_is_left_alone() -> None:
    once = add_users(FILES, [PROXY], 0)
    assert add_users(once, [PROXY], 0) == once


@pytest.mark.parametrize("line", ["istio-proxy:x:1:1::/:/bin/sh\n", "other:x:1337:1::/:/bin/sh\n"])
def test_a_name_or_number_of_somebody_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="istio-proxy \\(1337\\) cannot be added"):
        add_users(AccountFiles(passwd=line), [PROXY], 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "istio-proxy:100000:65536"),
        ("a:100000:65536\nb:165536:65536\n", "istio-proxy:231072:65536"),
        # The first gap that is wide enough.
        ("b:300000:65536\na:100000:65536\n", "istio-proxy:165536:65536"),
        ("a:100001:10\nb:200000:65536\n", "istio-proxy:100011:65536"),
        ("# odd\na:x:1\n1:2:3:4\n", "istio-proxy:100000:65536"),
    ],
)
def test_a_user_gets_the_first_free_range(text: str, line: str) -> None:
    assert add_subordinate_ids(text, [PROXY]) == f"{text}{line}\n"


def test_a_range_that_is_there_stays_and_the_system_gets_none() -> None:
    system = User(name="daemon", uid=999, gid=999, home="/", shell="/bin/sh")
    assert add_subordinate_ids("istio-proxy:5:6\n", [PROXY, system]) == "istio-proxy:5:6\n"


def test_the_command_names_what_is_not_its_default() -> None:
    assert PROXY.command == "useradd -m --uid 1337 istio-proxy"
    elsewhere = User(name="app", uid=1338, gid=1338, home="/srv/app", shell="/bin/sh")
    assert elsewhere.command == "useradd -m --home-dir /srv/app --uid 1338 app"
