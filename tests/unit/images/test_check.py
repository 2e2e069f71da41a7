"""Every way in which an assembled image can differ from its plan is found before it leaves the machine."""

import hashlib
import re
import shutil
import tarfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import CheckError
from builder.images.check import ExpectedFile, check_index, check_integrity, check_platform
from builder.oci.layout import Layout
from builder.oci.manifest import ImageConfig
from builder.oci.reference import Platform
from builder.plan.model import ImagePlan
from tests.samples.images import (
    AMD64,
    ARM64,
    BASE_LAYER,
    COMMITTED_AT,
    SampleFile,
    add_image,
    add_index,
    make_config,
    make_digest,
    make_tar,
    set_root,
    write_image,
    write_image_index,
)
from tests.samples.plans import image_of, make_sample_plan
from tests.samples.programs import make_elf

PILOT = image_of(make_sample_plan(images=("pilot",)), "pilot-debug")
PROXY = image_of(make_sample_plan(images=("proxyv2",)), "proxyv2-debug")
PROGRAM = "/usr/local/bin/pilot-discovery"
DIRECTORIES = tuple(SampleFile(path=path, kind=tarfile.DIRTYPE) for path in ("/usr", "/usr/local", "/usr/local/bin"))


def good_config(plan: ImagePlan = PILOT, platform: Platform = ARM64) -> ImageConfig:
    """What the engine makes of the plan's Dockerfile."""
    image = next(image for image in plan.platforms if image.platform == platform)
    base = make_config(platform)
    return replace(
        base,
        user=plan.user,
        entrypoint=plan.entrypoint,
        command=(),
        env=(*base.env, *image.env),
        labels=tuple(sorted({**dict(base.labels), **dict(image.labels)}.items())),
        working_dir=plan.workdir,
    )


def program(**changes: Any) -> SampleFile:  # noqa: ANN401 - fields of the value
    return replace(SampleFile(path=PROGRAM, content=make_elf("arm64")), **changes)


def expect(*files: SampleFile) -> tuple[ExpectedFile, ...]:
    return tuple(
        ExpectedFile(
            path=file.path,
            mode=f"{file.mode:04o}",
            mtime=file.mtime,
            sha256=hashlib.sha256(file.content).hexdigest(),
        )
        for file in files
    )


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., None]:
    """Checks an image of this configuration and these layers for pilot on arm64."""

    def check_image(
        *,
        config: ImageConfig | None = None,
        files: Sequence[SampleFile] = (program(),),
        base: bytes = BASE_LAYER,
        more_layers: Sequence[bytes] = (),
        plan: ImagePlan = PILOT,
        expected: Sequence[ExpectedFile] | None = None,
        compression: str = "gzip",
    ) -> None:
        layers = (base, make_tar([*DIRECTORIES, *files]), *more_layers)
        layout = write_image(tmp_path, config or good_config(plan), layers, compression)
        image = next(image for image in plan.platforms if image.platform == ARM64)
        check_platform(plan, image, layout, expect(program()) if expected is None else expected, compression)

    return check_image


class TestOnePlatform:
    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_what_was_planned_passes(self, check: Callable[..., None], compression: str) -> None:
        check(compression=compression)

    @pytest.mark.parametrize(
        ("change", "finding"),
        [
            ({"user": ""}, "user is '', not '1337:1337'"),
            ({"user": "root"}, "user is 'root', not '1337:1337'"),
            ({"entrypoint": ("/bin/sh",)}, r"entrypoint is \('/bin/sh',\), not \('/usr/local/bin/pilot-discovery',\)"),
            ({"entrypoint": ()}, r"entrypoint is \(\), not"),
            ({"command": ("/bin/bash",)}, r"command is \('/bin/bash',\), not \(\)"),
            ({"env": ()}, "env is {}, not {'PATH'"),
            ({"env": (("PATH", "/bin"),)}, "env is {'PATH': '/bin'}"),
            ({"env": (*good_config().env, ("DEBUG", "1"))}, "env is .*'DEBUG': '1'"),
            ({"labels": ()}, "labels is {}, not"),
            ({"labels": (*good_config().labels, ("more", "1"))}, "labels is .*'more': '1'"),
            ({"working_dir": "/tmp"}, "working directory is '/tmp', not '/'"),
            ({"platform": AMD64}, r"platform is Platform\(os='linux', architecture='amd64'\)"),
        ],
    )
    def test_a_wrong_configuration_is_found(self, check: Callable[..., None], change: dict[str, Any], finding: str) -> None:
        with pytest.raises(CheckError, match=finding) as raised:
            check(config=replace(good_config(), **change))
        assert raised.value.message.startswith("pilot-debug on linux/arm64 is not what was planned:\n")
        # Nothing else may be wrong, or this test would pass for another reason.
        assert len(raised.value.message.splitlines()) == 2

    @pytest.mark.parametrize(
        ("files", "finding"),
        [
            ([], f"{PROGRAM} is missing"),
            ([program(), SampleFile(path="/etc/passwd")], "/etc/passwd should not be there"),
            ([program(), SampleFile(path="/etc/.wh.passwd")], r"/etc/\.wh\.passwd should not be there"),
            ([program(), SampleFile(path="/bin/sh", kind=tarfile.SYMTYPE, target="/a")], "/bin/sh should not be there"),
            ([program(), SampleFile(path="/dev/null", kind=tarfile.CHRTYPE)], "/dev/null should not be there"),
            ([program(mode=0o644)], "mode is 0644, not 0755"),
            ([program(mode=0o4755)], "mode is 4755, not 0755"),
            ([program(uid=1337)], "owner is 1337:0, not 0:0"),
            ([program(gid=1337)], "owner is 0:1337, not 0:0"),
            ([program(mtime=0)], f"mtime is 0, not {COMMITTED_AT}"),
            ([program(content=make_elf("arm64") + b"more")], "sha256 is "),
        ],
    )
    def test_a_wrong_file_is_found(self, check: Callable[..., None], files: list[SampleFile], finding: str) -> None:
        with pytest.raises(CheckError, match=finding) as raised:
            check(files=files)
        assert len(raised.value.message.splitlines()) == 2

    def test_a_link_where_a_file_should_be_is_found(self, check: Callable[..., None]) -> None:
        with pytest.raises(CheckError, match=f"{PROGRAM}: kind is symlink, not file"):
            check(files=[program(kind=tarfile.SYMTYPE, target="/bin/true", content=b"")])

    def test_a_later_layer_that_replaces_a_file_is_found(self, check: Callable[..., None]) -> None:
        with pytest.raises(CheckError, match=f"{PROGRAM}: sha256 is "):
            check(more_layers=[make_tar([program(content=b"other")])])

    def test_a_later_layer_that_removes_a_file_is_found(self, check: Callable[..., None]) -> None:
        with pytest.raises(CheckError, match=r"/usr/local/bin/\.wh\.pilot-discovery should not be there"):
            check(more_layers=[make_tar([SampleFile(path="/usr/local/bin/.wh.pilot-discovery")])])

    def test_an_empty_layer_more_changes_nothing_for_who_runs_it(self, check: Callable[..., None]) -> None:
        check(more_layers=[make_tar([])])

    def test_a_program_for_another_platform_is_found_though_it_was_expected(self, check: Callable[..., None]) -> None:
        foreign = program(content=make_elf("amd64"))
        with pytest.raises(CheckError, match=f"{PROGRAM} is a program for amd64, not for arm64"):
            check(files=[foreign], expected=expect(foreign))

    @pytest.mark.parametrize("architecture", ["386", "riscv64"])
    def test_so_is_one_for_a_platform_we_never_build_for(self, check: Callable[..., None], architecture: str) -> None:
        foreign = program(content=make_elf(architecture))
        with pytest.raises(CheckError, match=f"{PROGRAM} is a program for "):
            check(files=[foreign], expected=expect(foreign))

    def test_a_foreign_program_that_nobody_can_start_is_data(self, check: Callable[..., None]) -> None:
        data = SampleFile(path="/share/probe.o", content=make_elf("amd64"), mode=0o644)
        check(files=[program(), data], expected=expect(program(), data))

    @pytest.mark.parametrize(
        ("changes", "finding"),
        [
            ({}, ""),
            ({"uid": 0}, "/home/application: owner is 0:1338, not 1338:1338"),
            ({"mode": 0o755}, "/home/application: mode is 0755, not 0750"),
            ({"path": "/home/other"}, "/home/application is missing"),
        ],
    )
    def test_a_home_is_its_users(self, check: Callable[..., None], changes: dict[str, Any], finding: str) -> None:
        home = SampleFile(path="/home/application", kind=tarfile.DIRTYPE, mode=0o750, uid=1338, gid=1338)
        [entry] = expect(home)
        wanted = replace(entry, sha256="", kind="directory", owner="1338:1338")
        with pytest.raises(CheckError, match=finding) if finding else nullcontext():
            check(files=[program(), replace(home, **changes)], expected=[*expect(program()), wanted])

    def test_another_base_is_found(self, check: Callable[..., None]) -> None:
        with pytest.raises(CheckError, match="base layers is "):
            check(base=make_tar([SampleFile(path="/etc/os-release", content=b"NAME=other\n")]))

    def test_every_difference_is_listed(self, check: Callable[..., None]) -> None:
        with pytest.raises(CheckError) as raised:
            check(config=replace(good_config(), user="0", entrypoint=()), files=[program(mode=0o600), SampleFile(path="/x")])
        assert [line.split()[0] for line in raised.value.message.splitlines()[1:]] == ["user", "entrypoint", f"{PROGRAM}:", "/x"]

    def test_an_index_is_no_image(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        image = add_image(layout, good_config(), [BASE_LAYER])
        write_image_index(tmp_path, {ARM64: image})
        with pytest.raises(CheckError, match="holds an index where an image should be"):
            check_platform(PILOT, PILOT.platforms[1], layout, (), "gzip")

    def test_a_damaged_layer_is_found(self, tmp_path: Path) -> None:
        layout = write_image(tmp_path, good_config(), [BASE_LAYER, make_tar([program()])])
        layer = layout.index().layers()[-1]
        layout.blob(layer.digest).write_bytes(layout.blob(layer.digest).read_bytes()[:-4])
        with pytest.raises(CheckError, match="is damaged"):
            check_platform(PILOT, PILOT.platforms[1], layout, expect(program()), "gzip")


class TestWhatTheBaseSays:
    """What a recipe leaves open is the base image's."""

    def test_a_user_that_the_recipe_leaves_open(self, check: Callable[..., None]) -> None:
        check(plan=PROXY, config=good_config(PROXY))
        with pytest.raises(CheckError, match="user is '1337', not ''"):
            check(plan=PROXY, config=replace(good_config(PROXY), user="1337"))

    def test_a_command_goes_with_an_entrypoint_of_ones_own(self, check: Callable[..., None]) -> None:
        plan = replace(PILOT, entrypoint=())
        inherits = replace(good_config(), entrypoint=(), command=("/bin/bash",))
        check(plan=plan, config=inherits)
        with pytest.raises(CheckError, match=r"command is \(\), not \('/bin/bash',\)"):
            check(plan=plan, config=replace(inherits, command=()))

    def test_an_env_that_the_image_sets_anew(self, check: Callable[..., None]) -> None:
        images = tuple(replace(image, env=(("PATH", "/opt"),)) for image in PILOT.platforms)
        check(plan=replace(PILOT, platforms=images), config=replace(good_config(), env=(("PATH", "/opt"),)))

    def test_no_working_directory_is_the_root(self, check: Callable[..., None]) -> None:
        check(config=replace(good_config(), working_dir="/"))


# Each property that an instruction of Docker's sets and no recipe, with a value that instruction gives it.
OTHERS = [
    ("ExposedPorts", '{"8080/tcp":{}}', "EXPOSE"),
    ("Healthcheck", '{"Test":["CMD-SHELL","true"]}', "HEALTHCHECK"),
    ("OnBuild", '["RUN true"]', "ONBUILD"),
    ("Shell", '["/bin/bash","-c"]', "SHELL"),
    ("StopSignal", '"SIGQUIT"', "STOPSIGNAL"),
    ("Volumes", '{"/data":{}}', "VOLUME"),
    ("author", '"me"', "MAINTAINER"),
]


def on_base(*others: tuple[str, str]) -> ImagePlan:
    """pilot on a base that says this, too."""
    assert PILOT.base
    platforms = tuple(replace(on, config=replace(on.config, others=others)) for on in PILOT.base.platforms)
    return replace(PILOT, base=replace(PILOT.base, platforms=platforms))


class TestWhatNoRecipeCanSay:
    """It is as the base image has it."""

    @pytest.mark.parametrize(("name", "value", "instruction"), OTHERS)
    def test_added_by_the_template(self, check: Callable[..., None], name: str, value: str, instruction: str) -> None:
        with pytest.raises(CheckError) as raised:
            check(config=replace(good_config(), others=((name, value),)))
        assert raised.value.message == (
            "pilot-debug on linux/arm64 is not what was planned:\n"
            f"  {name} is {value}, not unset: remove {instruction} from the template pilot.Dockerfile.j2"
        )

    @pytest.mark.parametrize(("name", "value"), [(name, value) for name, value, _ in OTHERS if name != "OnBuild"])
    def test_of_the_base(self, check: Callable[..., None], name: str, value: str) -> None:
        plan = on_base((name, value))
        check(plan=plan, config=replace(good_config(), others=((name, value),)))
        for others, found in (((), "unset"), (((name, '"else"'),), '"else"')):
            with pytest.raises(CheckError, match=re.escape(f"  {name} is {found}, not {value}: remove ")):
                check(plan=plan, config=replace(good_config(), others=others))

    def test_what_a_base_wants_done_in_builds_on_it_is_not_passed_on(self, check: Callable[..., None]) -> None:
        triggers = ("OnBuild", '["RUN true"]')
        check(plan=on_base(triggers))
        with pytest.raises(CheckError, match=r"OnBuild is .*, not unset: remove ONBUILD "):
            check(plan=on_base(triggers), config=replace(good_config(), others=(triggers,)))

    def test_what_no_instruction_sets_may_be_left_out_and_not_be_added(self, check: Callable[..., None]) -> None:
        hostname = ("Hostname", '"a1b2"')
        check(plan=on_base(hostname))
        check(plan=on_base(hostname), config=replace(good_config(), others=(hostname,)))
        with pytest.raises(CheckError, match='Hostname is "a1b2", not unset: remove what sets it from the template'):
            check(config=replace(good_config(), others=(hostname,)))

    def test_what_comes_with_every_command_is_not_looked_at(self, check: Callable[..., None]) -> None:
        check(config=replace(good_config(), others=(("ArgsEscaped", "true"),)))


class TestIndex:
    def layout(self, root: Path, *platforms: Platform) -> Layout:
        layout = Layout(root)
        images = {platform: add_image(layout, make_config(platform), [BASE_LAYER]) for platform in platforms}
        return write_image_index(root, images)

    def test_the_planned_platforms_pass(self, tmp_path: Path) -> None:
        check_index(PILOT, self.layout(tmp_path, AMD64, ARM64))

    @pytest.mark.parametrize(
        ("platforms", "found"),
        [
            ([AMD64], "linux/amd64"),
            ([], "nothing"),
            ([AMD64, ARM64, Platform("linux", "s390x")], "linux/amd64, linux/arm64, linux/s390x"),
            ([AMD64, ARM64, Platform("unknown", "unknown")], "linux/amd64, linux/arm64, unknown/unknown"),
        ],
    )
    def test_a_platform_too_few_or_too_many_is_found(self, tmp_path: Path, platforms: list[Platform], found: str) -> None:
        with pytest.raises(CheckError, match=f"the index holds {found}, not linux/amd64, linux/arm64"):
            check_index(PILOT, self.layout(tmp_path, *platforms))

    def test_an_entry_twice_is_found(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        entry = replace(add_image(layout, make_config(AMD64), [BASE_LAYER]), platform=AMD64).to_json()
        other = replace(add_image(layout, make_config(ARM64), [BASE_LAYER]), platform=ARM64).to_json()
        set_root(layout, add_index(layout, [entry, entry, other]))
        with pytest.raises(CheckError, match="linux/amd64, linux/amd64, linux/arm64"):
            check_index(PILOT, layout)

    def test_an_entry_without_a_platform_is_found(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        entry = add_image(layout, make_config(AMD64), [BASE_LAYER]).to_json()
        set_root(layout, add_index(layout, [entry]))
        with pytest.raises(CheckError, match="the index holds None"):
            check_index(PILOT, layout)


class TestIntegrity:
    """A layout that came from elsewhere, without its plan."""

    @pytest.fixture
    def layout(self, tmp_path: Path) -> Layout:
        layout = Layout(tmp_path / "pilot-debug")
        images = {
            platform: add_image(
                layout, make_config(platform), [BASE_LAYER, make_tar([program(content=make_elf(platform.architecture))])]
            )
            for platform in (AMD64, ARM64)
        }
        return write_image_index(layout.root, images)

    def test_a_whole_one_gives_its_index(self, layout: Layout) -> None:
        index = check_integrity(layout)
        assert [child.platform for child in index.children()] == [AMD64, ARM64]

    def test_a_copy_elsewhere_is_as_good(self, layout: Layout, tmp_path: Path) -> None:
        shutil.copytree(layout.root, tmp_path / "copy")
        assert check_integrity(Layout(tmp_path / "copy")) == check_integrity(layout)

    def test_every_blob_that_is_missing_is_found(self, layout: Layout) -> None:
        for blob in sorted((layout.root / "blobs" / "sha256").iterdir()):
            content = blob.read_bytes()
            blob.unlink()
            with pytest.raises(CheckError, match="lacks"):
                check_integrity(layout)
            blob.write_bytes(content)
        check_integrity(layout)

    def test_every_blob_that_was_cut_off_is_found(self, layout: Layout) -> None:
        for blob in sorted((layout.root / "blobs" / "sha256").iterdir()):
            content = blob.read_bytes()
            blob.write_bytes(content[:-1])
            with pytest.raises(CheckError, match=r"damaged"):
                check_integrity(layout)
            blob.write_bytes(content)

    def test_every_blob_with_a_flipped_bit_is_found(self, layout: Layout) -> None:
        for blob in sorted((layout.root / "blobs" / "sha256").iterdir()):
            content = blob.read_bytes()
            place = len(content) // 2
            blob.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(CheckError, match="damaged"):
                check_integrity(layout)
            blob.write_bytes(content)

    def test_a_program_for_another_platform_is_found(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        image = add_image(layout, make_config(ARM64), [BASE_LAYER, make_tar([program(content=make_elf("amd64"))])])
        write_image_index(tmp_path, {ARM64: image})
        with pytest.raises(CheckError, match=f"on linux/arm64: {PROGRAM} is a program for amd64, not for arm64"):
            check_integrity(layout)

    def test_so_is_one_in_the_base(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        base = make_tar([SampleFile(path="/bin/sh", content=make_elf("amd64"))])
        write_image_index(tmp_path, {ARM64: add_image(layout, make_config(ARM64), [base])})
        with pytest.raises(CheckError, match="/bin/sh is a program for amd64"):
            check_integrity(layout)

    def test_an_image_that_is_not_for_the_platform_it_is_listed_for_is_found(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        write_image_index(tmp_path, {ARM64: add_image(layout, make_config(AMD64), [BASE_LAYER])})
        with pytest.raises(CheckError, match="the index says linux/arm64, the image linux/amd64"):
            check_integrity(layout)

    def test_an_index_of_nothing_is_found(self, tmp_path: Path) -> None:
        with pytest.raises(CheckError, match="does not hold an image index"):
            check_integrity(write_image_index(tmp_path, {}))

    def test_a_single_image_is_no_index(self, tmp_path: Path) -> None:
        layout = write_image(tmp_path, make_config(AMD64), [BASE_LAYER])
        with pytest.raises(CheckError, match="does not hold an image index"):
            check_integrity(layout)

    def test_an_index_with_a_malformed_entry_is_found(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        tmp_path.joinpath("blobs/sha256").mkdir(parents=True)
        set_root(layout, add_index(layout, [{"digest": str(make_digest("a"))}]))
        with pytest.raises(CheckError, match="malformed"):
            check_integrity(layout)
