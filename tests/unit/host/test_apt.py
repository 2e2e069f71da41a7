"""apt: what it is asked, what its answers mean, and what its failures look like."""

from pathlib import Path

import pytest

from builder.errors import BaseImageError
from builder.host.apt import Apt
from builder.ports import Completed, PackageSources, PackageWishes, ProcessFailed
from tests.fakes.runner import Call, FakeRunner

SUM = "ab" * 32
LINE = f"'http://mirror/pool/c/curl_8_arm64.deb' curl_8_arm64.deb 300 SHA256:{SUM}\n"
WISHES = PackageWishes(with_dependencies=("?essential", "curl"), alone=())


def sources_of(keyring: Path) -> PackageSources:
    lines = ("deb http://me:secret@mirror/debian bookworm main",)
    return PackageSources(architecture="arm64", lines=lines, keyring=str(keyring), keyring_package="debian-archive-keyring")


@pytest.fixture
def sources(tmp_path: Path) -> PackageSources:
    keyring = tmp_path / "keys.gpg"
    keyring.touch()
    return sources_of(keyring)


def apt_of(tmp_path: Path, runner: FakeRunner) -> Apt:
    return Apt(runner, {"HOME": "/root"}, tmp_path / "apt", lambda seconds: None)


def answer(call: Call) -> Completed:
    return Completed(stdout=f"Reading package lists...\n{LINE}" if "--print-uris" in call.argv else "", stderr="")


def test_packages_come_with_their_sums_and_nothing_is_installed(tmp_path: Path, sources: PackageSources) -> None:
    runner = FakeRunner(answer)
    apt = apt_of(tmp_path, runner)
    found = apt.find(sources, WISHES)
    assert [(package.file, package.sha256) for package in found] == [("curl_8_arm64.deb", SUM)]
    assert [call.argv[2] for call in runner.calls] == ["update", "install"]
    assert "--print-uris" in runner.calls[1].argv
    # Once a run: the lists are the same for all images.
    apt.find(sources, PackageWishes(with_dependencies=(), alone=("tzdata",)))
    assert [call.argv[2] for call in runner.calls] == ["update", "install", "download"]


def test_the_state_is_of_its_own_and_for_the_other_architecture(tmp_path: Path, sources: PackageSources) -> None:
    runner = FakeRunner(answer)
    apt_of(tmp_path, runner).find(sources, WISHES)
    configuration = Path(runner.calls[0].env["APT_CONFIG"])
    state = configuration.parent
    assert state.parent == tmp_path / "apt"
    assert 'APT::Architecture "arm64";' in configuration.read_text()
    assert (state / "status").read_text() == ""
    lines = (state / "etc/sources.list").read_text()
    assert lines == f"deb [arch=arm64 signed-by={sources.keyring}] http://me:secret@mirror/debian bookworm main\n"


def test_a_package_without_a_sum_is_refused(tmp_path: Path, sources: PackageSources) -> None:
    runner = FakeRunner(lambda call: Completed(stdout="'http://mirror/a.deb' a.deb 3 MD5Sum:ab\n", stderr=""))
    with pytest.raises(BaseImageError, match="without a sha256"):
        apt_of(tmp_path, runner).find(sources, WISHES)


def test_a_missing_keyring_names_its_package(tmp_path: Path) -> None:
    with pytest.raises(BaseImageError, match="nothing can tell whether packages are genuine") as caught:
        apt_of(tmp_path, FakeRunner()).find(sources_of(tmp_path / "none.gpg"), WISHES)
    assert "debian-archive-keyring" in caught.value.hint


def test_no_apt_says_what_else_there_is(tmp_path: Path, sources: PackageSources) -> None:
    def fail(call: Call) -> Completed:
        raise ProcessFailed(call.argv, 127, "", "cannot start apt-get: No such file or directory")

    with pytest.raises(BaseImageError, match="there is no apt-get on this machine") as caught:
        apt_of(tmp_path, FakeRunner(fail)).find(sources, WISHES)
    assert "--bases copy" in caught.value.hint


def test_what_apt_complains_of_is_told_without_passwords(tmp_path: Path, sources: PackageSources) -> None:
    def fail(call: Call) -> Completed:
        raise ProcessFailed(call.argv, 100, "", "noise\nE: Failed to fetch http://me:secret@mirror/debian/InRelease 404\n")

    with pytest.raises(BaseImageError, match="Failed to fetch") as caught:
        apt_of(tmp_path, FakeRunner(fail)).find(sources, WISHES)
    assert "secret" not in caught.value.message
    assert "noise" not in caught.value.message
