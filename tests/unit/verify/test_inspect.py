"""What programs say of themselves is held against the recipe and the hub that they are at."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.images.check import FOR_EVERY_KERNEL
from builder.oci.go_build_info import read_build_info
from builder.oci.layer import LayerEntry
from builder.oci.reference import Hub
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.verify.contents import Program
from builder.verify.expectation import ExpectedImage, Selection, expect_release
from builder.verify.files import ImageFiles
from builder.verify.findings import Finding
from builder.verify.inspect import PlatformContents, describe_programs, inspect_machine, inspect_recipe, inspect_twins
from tests.samples.hubs import COMMIT
from tests.samples.images import AMD64, ARM64, make_config
from tests.samples.programs import make_go_program

HUB = Hub.parse("docker.io/me")
REFERENCE = HUB.repository("istioctl").at("1.29.0")
PATH = "/usr/local/bin/istioctl"
PACKAGE = "istio.io/istio/istioctl/cmd/istioctl"
VERSION_FLAGS = "-X istio.io/istio/pkg/version.buildVersion={} -X istio.io/istio/pkg/version.buildHub={}"


def expected() -> ExpectedImage:
    book = load_recipes().at(IstioRelease(1, 29, 0))
    return expect_release(book, Selection(images=("istioctl",), variants=("debug",), tags=("1.29.0",)))[0][0]


def contents(program: bytes) -> PlatformContents:
    build = read_build_info(program)
    assert build
    entry = LayerEntry(path=PATH, kind="file", mode="0755", owner="0:0", mtime=0, architecture="amd64")
    files = ImageFiles(entries={PATH: entry}, programs={PATH: Program(path=PATH, build=build)})
    config = make_config(AMD64, user="1000:1000", entrypoint=(PATH,))
    return PlatformContents(platform=AMD64, config=config, files=files, whole=True)


def told(program: bytes) -> Sequence[tuple[str, str]]:
    return [(finding.kind, finding.message) for finding in inspect_recipe(REFERENCE, contents(program), expected(), HUB)]


def test_a_program_of_this_hub_and_release() -> None:
    program = make_go_program("amd64", package=PACKAGE, stamps=("1.29.0", COMMIT, "docker.io/me"))
    assert told(program) == []
    (fact,) = describe_programs(contents(program), expected(), HUB)
    assert (fact.go, fact.package, fact.version, fact.hub) == ("go1.26.0", PACKAGE, "1.29.0", "docker.io/me")


@pytest.mark.parametrize("hub", ["docker.io/istio", "gcr.io/istio-release"])
def test_an_istioctl_that_installs_from_elsewhere(hub: str) -> None:
    program = make_go_program("amd64", package=PACKAGE, stamps=("1.29.0", COMMIT, hub))
    assert told(program) == [("other-hub", f"{PATH} is stamped with {hub}, and installs from there")]


def test_a_text_that_only_looks_like_a_hub_is_not_told() -> None:
    program = make_go_program("amd64", package=PACKAGE, stamps=("1.29.0", COMMIT, "example.com/docs"))
    assert told(program) == []


def test_names_of_stamps_are_certain() -> None:
    flags = VERSION_FLAGS.format("1.28.0", "quay.io/other")
    program = make_go_program("amd64", package=PACKAGE, stamps=("1.29.0",), settings=(("-ldflags", flags),))
    assert told(program) == [
        ("wrong-version", f"{PATH} is stamped with 1.28.0, not 1.29.0"),
        ("other-hub", f"{PATH} is stamped with quay.io/other, and installs from there"),
    ]


def test_a_program_that_does_not_use_its_version_has_none() -> None:
    # The linker leaves out what is not used, and with it the commit; other versions may stand in the file.
    assert told(make_go_program("amd64", package=PACKAGE, stamps=("1.2.3",))) == []


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (make_go_program("amd64", package="istio.io/istio/pilot/cmd/pilot-agent"), "is istio.io/istio/pilot/cmd/pilot-agent"),
        (make_go_program("arm64", package=PACKAGE), "was built with GOARCH=arm64, not amd64"),
    ],
)
def test_a_program_that_is_another(program: bytes, message: str) -> None:
    ((kind, text),) = told(program)
    assert kind == "wrong-program"
    assert message in text


def with_programs(*entries: LayerEntry) -> PlatformContents:
    files = ImageFiles(entries={entry.path: entry for entry in entries}, programs={})
    return PlatformContents(platform=ARM64, config=make_config(ARM64), files=files, whole=True)


def elf(path: str, architecture: str, mode: str = "0755") -> LayerEntry:
    return LayerEntry(path=path, kind="file", mode=mode, owner="0:0", mtime=0, sha256=architecture, architecture=architecture)


def test_many_wrong_programs_are_one_finding() -> None:
    paths = [f"/usr/bin/{number}" for number in range(5)]
    (finding,) = inspect_machine(REFERENCE, with_programs(*(elf(path, "amd64") for path in paths)))
    assert finding.message == "for amd64, not for arm64: /usr/bin/0, /usr/bin/1, /usr/bin/2 and 2 more"
    assert finding.paths == tuple(paths)


@pytest.mark.parametrize("entry", [elf("/data", "amd64", "0644"), elf("/xdp.o", FOR_EVERY_KERNEL)])
def test_what_no_platform_runs_is_no_program(entry: LayerEntry, tmp_path: Path) -> None:
    own = with_programs(entry)
    other = PlatformContents(platform=AMD64, config=own.config, files=own.files, whole=True)
    found: list[Finding] = [*inspect_machine(REFERENCE, own), *inspect_twins(REFERENCE, [other, own])]
    assert found == []
