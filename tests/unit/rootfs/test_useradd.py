"""Users of an image that stands on another one: the base's accounts, and ours behind them."""

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import BaseImageError, CheckError
from builder.oci.layer import read_layer
from builder.plan.user import User
from builder.rootfs.useradd import write_users_layer
from tests.samples.accounts import read_accounts
from tests.samples.images import SampleFile, compress, make_tar

APPLICATION = User(name="application", uid=1338, gid=1338, home="/home/application", shell="/bin/sh")
FILES = {
    "/etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
    "/etc/group": b"root:x:0:\n",
    "/etc/shadow": b"root:*:1:0:99999:7:::\n",
}
PLAIN = "application/vnd.oci.image.layer.v1.tar"


def layer(directory: Path, name: str, *files: SampleFile) -> tuple[Path, str]:
    content, media_type = compress(make_tar(files), "gzip")
    path = directory / name
    path.write_bytes(content)
    return path, media_type


@pytest.fixture
def base(tmp_path: Path) -> tuple[Path, str]:
    files = [SampleFile(path=path, content=content, mode=0o644) for path, content in FILES.items()]
    return layer(tmp_path, "base", *(replace(file, mode=0o640, gid=42) if file.path == "/etc/shadow" else file for file in files))


def test_the_accounts_of_the_base_stay(tmp_path: Path, base: tuple[Path, str]) -> None:
    archive = tmp_path / "users.tar"
    write_users_layer([base], [APPLICATION], 86400, archive)
    accounts = read_accounts([base, (archive, PLAIN)])
    assert accounts.passwd == FILES["/etc/passwd"].decode() + "application:x:1338:1338::/home/application:/bin/sh\n"
    assert accounts.group == "root:x:0:\napplication:x:1338:\n"
    assert accounts.shadow.endswith("application:!:1:0:99999:7:::\n")
    # The base has none, so neither has the image.
    assert accounts.gshadow == ""
    entries = {entry.path: entry for entry in read_layer(archive, PLAIN)}
    assert (entries["/home/application"].owner, entries["/home/application"].mode) == ("1338:1338", "0750")
    assert (entries["/etc/shadow"].owner, entries["/etc/shadow"].mode) == ("0:42", "0640")


def test_the_topmost_layer_counts_and_may_remove(tmp_path: Path, base: tuple[Path, str]) -> None:
    later = layer(
        tmp_path, "later", SampleFile(path="/etc/group", content=b"a:x:1:\n"), SampleFile(path="/etc/.wh.shadow", content=b"")
    )
    accounts = read_accounts([base, later])
    assert (accounts.group, accounts.shadow) == ("a:x:1:\n", "")


def test_a_number_that_is_taken_is_refused(tmp_path: Path, base: tuple[Path, str]) -> None:
    taken = layer(tmp_path, "taken", SampleFile(path="/etc/passwd", content=b"other:x:1338:1::/:/bin/sh\n"))
    with pytest.raises(BaseImageError, match="there is other"):
        write_users_layer([base, taken], [APPLICATION], 0, tmp_path / "users.tar")


def test_a_damaged_layer_is_told(tmp_path: Path, base: tuple[Path, str]) -> None:
    base[0].write_bytes(base[0].read_bytes()[:-9])
    with pytest.raises(CheckError, match="damaged"):
        read_accounts([base])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_accounts_behind_a_link_are_not_lost_but_refused(tmp_path: Path, kind: bytes) -> None:
    link = SampleFile(path="/etc/passwd", kind=kind, target="/elsewhere")
    with pytest.raises(BaseImageError, match="/etc/passwd is a link"):
        read_accounts([layer(tmp_path, "link", link)])


def written(tmp_path: Path, *layers: tuple[Path, str]) -> dict[str, tuple[str, str, str, int, bytes | str]]:
    """What the layer for APPLICATION holds: kind, owner, mode, time, and content or target."""
    archive = tmp_path / "made" / "users.tar"
    write_users_layer(layers, [APPLICATION], 86400, archive)
    contents = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            contents[f"/{member.name}"] = file.read() if file else member.linkname
    return {
        entry.path: (entry.kind, entry.owner, entry.mode, entry.mtime, contents[entry.path])
        for entry in read_layer(archive, PLAIN)
    }


def test_what_the_base_has_for_new_homes_goes_into_this_one(tmp_path: Path, base: tuple[Path, str]) -> None:
    skeleton = layer(
        tmp_path,
        "skeleton",
        SampleFile(path="/etc/skel", kind=tarfile.DIRTYPE),
        SampleFile(path="/etc/skel/.profile", content=b"p", mode=0o644, mtime=7),
        SampleFile(path="/etc/skel/.config", kind=tarfile.DIRTYPE, mode=0o700, mtime=8),
        SampleFile(path="/etc/skel/.config/deep", content=b"d", mode=0o600, mtime=9),
        SampleFile(path="/etc/skel/.link", kind=tarfile.SYMTYPE, target=".profile", mode=0o777, mtime=10),
        SampleFile(path="/etc/skeleton", content=b"no"),
    )
    home = "/home/application"
    found = {path: entry for path, entry in written(tmp_path, base, skeleton).items() if path.startswith(home)}
    assert found == {
        home: ("directory", "1338:1338", "0750", 86400, ""),
        f"{home}/.config": ("directory", "1338:1338", "0700", 8, ""),
        f"{home}/.config/deep": ("file", "1338:1338", "0600", 9, b"d"),
        f"{home}/.link": ("symlink", "1338:1338", "0777", 10, ".profile"),
        f"{home}/.profile": ("file", "1338:1338", "0644", 7, b"p"),
    }


@pytest.mark.parametrize(
    ("hiding", "left"),
    [
        (SampleFile(path="/etc/skel/.wh..profile"), {"/.config", "/.config/deep"}),
        (SampleFile(path="/etc/skel/.wh..config"), {"/.profile"}),
        (SampleFile(path="/etc/skel/.wh..wh..opq"), set()),
        (SampleFile(path="/etc/.wh.skel"), set()),
        (SampleFile(path="/etc/skel/.config", content=b"now a file"), {"/.profile", "/.config"}),
        (SampleFile(path="/etc/skel", kind=tarfile.SYMTYPE, target="elsewhere"), set()),
        (SampleFile(path="/etc/skel/.config", kind=tarfile.DIRTYPE), {"/.profile", "/.config", "/.config/deep"}),
    ],
)
def test_what_a_later_layer_hides_does_not(tmp_path: Path, base: tuple[Path, str], hiding: SampleFile, left: set[str]) -> None:
    first = layer(
        tmp_path,
        "first",
        SampleFile(path="/etc/skel/.profile"),
        SampleFile(path="/etc/skel/.config", kind=tarfile.DIRTYPE),
        SampleFile(path="/etc/skel/.config/deep"),
    )
    found = written(tmp_path, base, first, layer(tmp_path, "second", hiding))
    home = "/home/application"
    assert {path.removeprefix(home) for path in found if path.startswith(f"{home}/")} == left


def test_a_layer_may_hide_what_is_below_and_bring_its_own(tmp_path: Path, base: tuple[Path, str]) -> None:
    """In whatever order its entries are: a whiteout is about the layers below."""
    later = layer(
        tmp_path, "later", SampleFile(path="/etc/passwd", content=b"a:x:1:1::/:/\n"), SampleFile(path="/etc/.wh..wh..opq")
    )
    accounts = read_accounts([base, later])
    assert (accounts.passwd, accounts.group, accounts.shadow) == ("a:x:1:1::/:/\n", "", "")


def test_ranges_of_subordinate_numbers_where_the_base_has_the_files(tmp_path: Path, base: tuple[Path, str]) -> None:
    ranges = layer(
        tmp_path,
        "ranges",
        SampleFile(path="/etc/subuid", content=b"ubuntu:100000:65536\n", mode=0o644),
        SampleFile(path="/etc/subgid", mode=0o644),
    )
    found = written(tmp_path, base, ranges)
    assert found["/etc/subuid"] == ("file", "0:0", "0644", 86400, b"ubuntu:100000:65536\napplication:165536:65536\n")
    assert found["/etc/subgid"] == ("file", "0:0", "0644", 86400, b"application:100000:65536\n")
    assert "/etc/subuid" not in written(tmp_path, base)


def test_nothing_but_accounts_and_homes_is_written(tmp_path: Path, base: tuple[Path, str]) -> None:
    assert set(written(tmp_path, base)) == {"/etc", *FILES, "/home", "/home/application"}


def test_accounts_keep_their_owners_and_modes_and_what_is_no_utf8(tmp_path: Path) -> None:
    passwd = SampleFile(path="/etc/passwd", content=b"caf\xe9:x:5:5::/:/bin/sh", mode=0o600, uid=3, gid=4)
    kind, owner, mode, _, content = written(tmp_path, layer(tmp_path, "odd", passwd))["/etc/passwd"]
    assert (kind, owner, mode) == ("file", "3:4", "0600")
    # The line that lacked its end is not run into the next.
    assert content == b"caf\xe9:x:5:5::/:/bin/sh\napplication:x:1338:1338::/home/application:/bin/sh\n"


def test_the_same_base_gives_the_same_bytes(tmp_path: Path, base: tuple[Path, str]) -> None:
    for name in ("one.tar", "two.tar"):
        write_users_layer([base], [APPLICATION], 86400, tmp_path / name)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        (b"UMASK\t\t022\nHOME_MODE\t0700\n", "0700"),
        (b"#HOME_MODE 0700\nUMASK 022\n", "0755"),
        (b"# UMASK 022\n", "0750"),
    ],
)
def test_homes_have_the_mode_that_the_base_says(tmp_path: Path, base: tuple[Path, str], settings: bytes, mode: str) -> None:
    found = written(tmp_path, base, layer(tmp_path, "settings", SampleFile(path="/etc/login.defs", content=settings)))
    assert found["/home/application"][2] == mode
    assert "/etc/login.defs" not in found


def test_a_file_of_accounts_that_has_no_end_is_not_read(tmp_path: Path) -> None:
    """A header may promise any size, and a megabyte of zeros takes a kilobyte."""
    endless = layer(tmp_path, "endless", SampleFile(path="/etc/passwd", content=bytes((64 << 20) + 1), mode=0o644))
    with pytest.raises(BaseImageError, match="/etc/passwd has 67108865 bytes, more than any file that accounts"):
        read_accounts([endless])
