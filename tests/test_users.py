"""Users of an image that stands on another one: the base's accounts, and ours behind them."""

import tarfile
from pathlib import Path

import pytest

from builder.accounts import User
from builder.errors import BaseImageError, CheckError
from builder.layer import read_layer
from builder.users import read_accounts, write_users_layer
from tests.samples import SampleFile, compress, make_tar

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
    return layer(tmp_path, "base", *(SampleFile(path=path, content=content) for path, content in FILES.items()))


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


def test_only_files_count(tmp_path: Path) -> None:
    link = SampleFile(path="/etc/passwd", kind=tarfile.SYMTYPE, target="/elsewhere")
    assert read_accounts([layer(tmp_path, "link", link)]).passwd == ""
