"""Root file systems: packages in, an archive out in which everything is set, and nothing of them run."""

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ArtifactError, BaseImageError, RecipeError
from builder.plan.rootfs_step import RootfsStep
from builder.recipe.loader import load_recipes
from builder.recipe.rootfs_schema import Rootfs
from builder.recipe.schema import RootfsImage
from builder.rootfs.bootstrap import MadeRootfs, make_rootfs
from tests.samples.debs import control_of, make_deb
from tests.samples.images import ARM64, COMMITTED_AT, SampleFile
from tests.samples.plans import RELEASE
from tests.samples.programs import make_elf

TOOL = SampleFile(path="./bin/tool", content=make_elf("arm64"))
PASSWD = SampleFile(path="./usr/share/base-passwd/passwd.master", content=b"root:*:0:0:root:/root:/bin/sh\n", mode=0o644)
GROUP = SampleFile(path="./usr/share/base-passwd/group.master", content=b"root:*:0:\n", mode=0o644)


def step_of(**rootfs: Any) -> RootfsStep:  # noqa: ANN401 - fields of the recipe
    return RootfsStep(image="base", platform=ARM64, packages=(), sources=("deb http://a s main",), rootfs=Rootfs(**rootfs))


def make(directory: Path, packages: Sequence[Path], **rootfs: Any) -> MadeRootfs:  # noqa: ANN401 - fields of the recipe
    return make_rootfs(step_of(**rootfs), packages, directory / "root.tar", lambda text: None)


def deb(directory: Path, *files: SampleFile, name: str = "sample", more: str = "", **control: str) -> Path:
    return make_deb(directory / f"{name}.deb", {**control_of(name, more), **control}, files)


def entries(rootfs: MadeRootfs) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(rootfs.archive) as tar:
        return {f"/{member.name}": member for member in tar}


def text(rootfs: MadeRootfs, path: str) -> str:
    with tarfile.open(rootfs.archive) as tar:
        content = tar.extractfile(path.lstrip("/"))
        assert content is not None
        return content.read().decode()


@pytest.mark.parametrize("compression", ["xz", "zst", "gz", ""])
def test_every_compression_of_packages_is_read(tmp_path: Path, compression: str) -> None:
    package = make_deb(tmp_path / "a.deb", control_of("a"), [TOOL], compression)
    assert "/usr/bin/tool" in entries(make(tmp_path, [package]))


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"!<arch>\ndebian-binary"])
def test_what_is_no_package_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    package = tmp_path / "a.deb"
    package.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.deb cannot be read"):
        make(tmp_path, [package])


def test_a_package_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    package = deb(tmp_path, TOOL)
    package.write_bytes(package.read_bytes()[:-60])
    with pytest.raises(ArtifactError, match="cannot be read"):
        make(tmp_path, [package])


def test_bin_and_lib_are_merged_into_usr(tmp_path: Path) -> None:
    hard_link = SampleFile(path="./bin/other", kind=tarfile.LNKTYPE, target="./bin/tool")
    found = entries(make(tmp_path, [deb(tmp_path, SampleFile(path="./bin", kind=tarfile.DIRTYPE), TOOL, hard_link)]))
    assert (found["/bin"].type, found["/bin"].linkname) == (tarfile.SYMTYPE, "usr/bin")
    # The first of two names in the order of the archive holds the bytes.
    assert found["/usr/bin/other"].isreg()
    assert (found["/usr/bin/tool"].islnk(), found["/usr/bin/tool"].linkname) == (True, "usr/bin/other")
    assert "/sbin" not in found


def test_owners_modes_and_times_are_the_packages(tmp_path: Path) -> None:
    file = SampleFile(path="./usr/bin/sudo", content=b"x", mode=0o4755, uid=0, gid=42, mtime=7)
    found = entries(make(tmp_path, [deb(tmp_path, file)]))["/usr/bin/sudo"]
    assert (found.mode, found.gid, found.mtime) == (0o4755, 42, 7)


def test_the_same_packages_give_the_same_bytes(tmp_path: Path) -> None:
    packages = [deb(tmp_path, TOOL, PASSWD, GROUP), deb(tmp_path, SampleFile(path="./etc/x", content=b"x"), name="b")]
    first = make(tmp_path, packages).archive.read_bytes()
    assert make(tmp_path, packages).archive.read_bytes() == first


def test_what_is_made_has_the_time_of_the_youngest_file(tmp_path: Path) -> None:
    made = make(tmp_path, [deb(tmp_path, TOOL)], contents={"/etc/new": {"text": "new"}})
    assert made.newest == COMMITTED_AT
    assert entries(made)["/etc/new"].mtime == COMMITTED_AT


def test_users_are_added_to_the_masters_with_their_homes(tmp_path: Path) -> None:
    skeleton = SampleFile(path="./etc/skel/.profile", content=b"# profile\n", mode=0o644)
    account = {"name": "istio-proxy", "uid": 1337, "home": "/home/istio-proxy", "create_home": True}
    made = make(tmp_path, [deb(tmp_path, PASSWD, GROUP, skeleton)], accounts=[account])
    assert text(made, "/etc/passwd").splitlines()[-1].startswith("istio-proxy:x:1337:1337:")
    found = entries(made)
    assert (found["/etc/shadow"].mode, found["/etc/shadow"].gid) == (0o640, 42)
    assert (found["/home/istio-proxy"].uid, found["/home/istio-proxy"].mode) == (1337, 0o750)
    assert found["/home/istio-proxy/.profile"].gid == 1337


def test_two_users_of_one_number_are_a_mistake_of_the_recipe(tmp_path: Path) -> None:
    accounts = [{"name": "a", "uid": 7}, {"name": "b", "uid": 7}]
    with pytest.raises(RecipeError, match="base on linux/arm64: accounts: user b"):
        make(tmp_path, [deb(tmp_path, TOOL)], accounts=accounts)


def test_certificates_are_bundled_in_the_order_of_their_names(tmp_path: Path) -> None:
    files = [
        SampleFile(path=f"./usr/share/ca-certificates/mozilla/{name}.crt", content=f"{name}\n".encode()) for name in ("B", "A")
    ]
    made = make(tmp_path, [deb(tmp_path, *files)])
    assert text(made, "/etc/ssl/certs/ca-certificates.crt") == "A\nB\n"
    assert text(made, "/etc/ca-certificates.conf") == "mozilla/A.crt\nmozilla/B.crt\n"


def test_alternatives_go_through_etc_and_those_that_lead_nowhere_are_left_out(tmp_path: Path) -> None:
    links = {"/usr/bin/awk": "/usr/bin/tool", "/usr/bin/nc": "/usr/bin/nc.openbsd"}
    found = entries(make(tmp_path, [deb(tmp_path, TOOL)], alternatives=links))
    assert found["/usr/bin/awk"].linkname == "/etc/alternatives/awk"
    assert found["/etc/alternatives/awk"].linkname == "/usr/bin/tool"
    assert "/usr/bin/nc" not in found


def test_capabilities_are_those_of_setcap(tmp_path: Path) -> None:
    found = entries(make(tmp_path, [deb(tmp_path, TOOL)], capabilities={"/usr/bin/tool": ["net_raw"]}))
    value = found["/usr/bin/tool"].pax_headers["SCHILY.xattr.security.capability"]
    # What `setcap cap_net_raw+ep` writes, as getxattr(2) gives it back.
    assert value.encode() == bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.mark.parametrize("key", ["appended", "modes", "capabilities"])
def test_a_file_that_no_package_has_is_named(tmp_path: Path, key: str) -> None:
    values = {"appended": "x", "modes": "0440", "capabilities": ["net_raw"]}
    with pytest.raises(BaseImageError, match="/etc/sudoers is in none of its packages"):
        make(tmp_path, [deb(tmp_path, TOOL)], **{key: {"/etc/sudoers": values[key]}})


def test_appending_keeps_mode_and_owner_and_modes_set_them(tmp_path: Path) -> None:
    sudoers = SampleFile(path="./etc/sudoers", content=b"one\n", mode=0o644, gid=5)
    changes: dict[str, Any] = {"appended": {"/etc/sudoers": "two\n"}, "modes": {"/etc/sudoers": "0440"}}
    made = make(tmp_path, [deb(tmp_path, sudoers)], **changes)
    assert text(made, "/etc/sudoers") == "one\ntwo\n"
    assert (entries(made)["/etc/sudoers"].mode, entries(made)["/etc/sudoers"].gid) == (0o440, 5)


def test_what_is_removed_goes_but_for_what_is_kept(tmp_path: Path) -> None:
    files = [SampleFile(path=f"./usr/share/doc/x/{name}", content=b"x") for name in ("README", "copyright")]
    directory = SampleFile(path="./usr/share/man", kind=tarfile.DIRTYPE)
    made = make(tmp_path, [deb(tmp_path, directory, *files)], remove=["/usr/share/*"], keep=["*/copyright"])
    found = entries(made)
    assert "/usr/share/doc/x/copyright" in found
    assert {"/usr/share/doc/x/README", "/usr/share/man"} & set(found) == set()


def test_dpkg_finds_its_packages_as_installed(tmp_path: Path) -> None:
    conffile = SampleFile(path="./etc/x.conf", content=b"x\n", mode=0o644)
    more = {"conffiles": "/etc/x.conf\n", "triggers": "interest-noawait /etc/init.d\ninterest other\n", "postinst": "#!/bin/sh\n"}
    package = deb(tmp_path, TOOL, conffile, more="Multi-Arch: same\n", **more)
    made = make(tmp_path, [package], database="dpkg", appended={"/etc/x.conf": "changed\n"})
    status = text(made, "/var/lib/dpkg/status")
    assert status.startswith("Package: sample\nStatus: install ok installed\nVersion: 1\n")
    # Of the file as it was packaged: to dpkg, ours is the administrator's change.
    assert "Conffiles:\n /etc/x.conf 401b30e3b8b5d629635a5c613cdb7919\n" in status
    assert text(made, "/var/lib/dpkg/info/sample:all.list") == "/.\n/bin/tool\n/etc/x.conf\n"
    assert text(made, "/var/lib/dpkg/triggers/File") == "/etc/init.d sample:all/noawait\n"
    assert text(made, "/var/lib/dpkg/triggers/other") == "sample:all\n"
    assert text(made, "/etc/apt/sources.list") == "deb http://a s main\n"
    assert "/var/lib/dpkg/info/sample:all.postinst" in entries(made)


def test_scanners_find_packages_where_there_is_no_dpkg(tmp_path: Path) -> None:
    made = make(tmp_path, [deb(tmp_path, TOOL)])
    assert text(made, "/var/lib/dpkg/status.d/sample").startswith("Package: sample\nVersion: 1\n")
    assert "/etc/apt/sources.list" not in entries(made)


def test_the_built_in_bases_take_the_place_of_those_that_are_copied() -> None:
    built = {recipe.image: recipe for recipe in load_recipes(build_bases=True).at(RELEASE).images}
    assert all(
        isinstance(built[name], RootfsImage) and built[name].group == "bases" for name in ("base", "distroless", "iptables")
    )
    assert not any(isinstance(recipe, RootfsImage) for recipe in load_recipes().at(RELEASE).images)
