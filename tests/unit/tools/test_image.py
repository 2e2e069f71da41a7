"""istio-build's own image: what comes onto its base is the same whenever and wherever it is made."""

import tarfile
from pathlib import Path

from tools.image import write_tar


def write_files(directory: Path, names: list[str], mode: int) -> Path:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
        path.chmod(mode | (0o100 if path.name == "program" else 0))
    return directory


def test_neither_order_nor_time_nor_umask_is_in_it(tmp_path: Path) -> None:
    names = ["opt/a/one", "opt/a/program", "opt/b/two", "opt/x.dist-info/direct_url.json", "opt/x.dist-info/RECORD"]
    write_tar(write_files(tmp_path / "one", names, 0o600), tmp_path / "one.tar", 1)
    write_tar(write_files(tmp_path / "two", names[::-1], 0o664), tmp_path / "two.tar", 1)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        members = {member.name: (oct(member.mode), member.uid, member.mtime) for member in tar if not member.isdir()}
    assert members == {
        "opt/a/one": ("0o644", 0, 1),
        "opt/a/program": ("0o755", 0, 1),
        "opt/b/two": ("0o644", 0, 1),
    }


def test_what_is_written_to_belongs_to_its_user(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_tar(tmp_path / "empty", tmp_path / "app.tar", 1)
    with tarfile.open(tmp_path / "app.tar") as tar:
        assert {(member.name, member.uid, member.gid) for member in tar} == {
            *[(name, 65532, 65532) for name in ("cache", "cache/home", "work")]
        }
