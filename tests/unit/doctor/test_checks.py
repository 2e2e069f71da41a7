"""Each check of the doctor, in a world where all is well and in one where a single thing is not."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builder.cache.workspace import Workspace
from builder.config.request import ArtifactOverride, CacheLimits, GoRequest, SourceRequest
from builder.doctor import machine
from builder.doctor.finding import State
from builder.doctor.hubs import hub_checks
from builder.doctor.probes import Assembler
from builder.errors import (
    AccessDenied,
    ArtifactError,
    BaseImageError,
    EngineError,
    JournalError,
    RegistryError,
    SourceError,
    ToolchainError,
)
from builder.oci.reference import Digest, Hub, ImageReference
from builder.publish.hub_record import HubRecord, Lease, NotedMove, write_record
from builder.publish.journal import Journal, Move
from builder.recipe.istio_release import IstioRelease
from tests.fakes.downloader import FakeDownloader
from tests.samples.doctor import PROXY, World, make_case
from tests.samples.images import AMD64, ARM64, make_digest
from tests.samples.plans import change_template, load_book, make_source, make_state
from tests.unit.resolve.test_resolver import BASE_TAG, add_base

HUB = "registry.corp.example/istio"
PILOT = Hub.parse(HUB).repository("pilot")


@pytest.fixture
def world(tmp_path: Path) -> World:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return World(scratch)


def test_where_all_is_well_everything_is_ok_and_nothing_is_written(world: World, tmp_path: Path) -> None:
    found = world.look_at(make_case(tmp_path))
    assert {name: one for name, one in found.items() if one.state is not State.OK} == {
        "go-download": found["go-download"],
    }
    assert list(tmp_path.rglob("*")) == [world.scratch]
    # All of it was read, and of the hub an upload was begun and cancelled.
    assert {operation for operation, _ in world.registry.log} == {"get_manifest", "get_blob", "check_push"}


def test_they_are_as_many_as_the_job_needs(world: World, tmp_path: Path) -> None:
    names = set(world.look_at(make_case(tmp_path)))
    assert {"git", "go", "engine", "runs", "source 1.29.0 of https://git.example/istio", "go-download", "go-modules"} <= names
    assert {"base-image base", "base-image distroless", "base-image iptables"} <= names
    assert {"artifact envoy linux/amd64", "artifact envoy linux/arm64"} <= names
    assert {f"push {HUB}", f"lease {HUB}", "clock registry.corp.example", "proxies"} <= names
    assert not any(name.startswith(("emulation", "mirror", "compile-image")) for name in names)


class TestPrograms:
    def test_no_git(self, world: World, tmp_path: Path) -> None:
        world.git_version = SourceError("git is not installed")
        with pytest.raises(SourceError):
            world.look_at(make_case(tmp_path))

    def test_a_go_that_is_too_old_where_it_is_the_one_that_is_wanted(self, world: World, tmp_path: Path) -> None:
        world.go_version = "1.24.0"
        with pytest.raises(ToolchainError, match=r"Go 1\.24\.0 at .*, and the source wants Go 1\.25\.0"):
            world.look_at(make_case(tmp_path, go=GoRequest(version="machine")))

    def test_nobody_asks_for_go_where_it_comes_in_an_image(self, world: World, tmp_path: Path) -> None:
        add_base(world.registry, "docker.io/library/golang:1.25")
        found = world.look_at(make_case(tmp_path, go=GoRequest(image="golang:1.25")))
        assert found["compile-image golang:1.25"].state is State.OK
        assert "go" not in found
        found = world.look_at(make_case(tmp_path, go=GoRequest(image="golang:1.99")))
        assert found["compile-image golang:1.99"].state is State.FAILED


class TestGoDownload:
    def zip_of(self, version: str) -> str:
        system = os.uname()
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(system.machine, system.machine)
        return f"{PROXY}/golang.org/toolchain/@v/v0.0.1-go{version}.{system.sysname.lower()}-{architecture}.zip"

    def test_what_can_be_fetched_is_looked_for_and_not_fetched(self, world: World, tmp_path: Path) -> None:
        world.downloader.files[self.zip_of("1.25.0")] = b"a toolchain"
        found = world.look_at(make_case(tmp_path))["go-download"]
        assert (found.state, found.text) == (State.OK, f"Go 1.25.0 can be fetched from {PROXY}")
        assert self.zip_of("1.25.0") in world.downloader.probed
        assert world.downloader.asked.count(self.zip_of("1.25.0")) == 0

    def test_a_newer_one_on_this_machine_takes_its_place(self, world: World, tmp_path: Path) -> None:
        found = world.look_at(make_case(tmp_path))["go-download"]
        assert found.state is State.WARNING
        assert "this machine's Go 1.26.0 compiles in its place" in found.meaning

    def test_an_older_one_does_not(self, world: World, tmp_path: Path) -> None:
        world.go_version = "1.24.0"
        found = world.look_at(make_case(tmp_path))["go-download"]
        assert (found.state, "GOPROXY" in found.mend) == (State.FAILED, True)

    def test_nor_for_one_that_is_named(self, world: World, tmp_path: Path) -> None:
        assert world.look_at(make_case(tmp_path, go=GoRequest(version="1.25.3")))["go-download"].state is State.FAILED

    def test_without_the_checksum_database_none_is_fetched(self, world: World, tmp_path: Path) -> None:
        world.go_settings["GOSUMDB"] = "off"
        world.downloader.files[self.zip_of("1.25.0")] = b"a toolchain"
        found = world.look_at(make_case(tmp_path))["go-download"]
        assert (found.state, "GOSUMDB" in found.text) == (State.WARNING, True)

    def test_one_that_was_fetched_before_is_not_asked_for(self, world: World, tmp_path: Path) -> None:
        modules = tmp_path / "modules"
        name = self.zip_of("1.25.0").rpartition("/")[2].removesuffix(".zip")
        (modules / f"golang.org/toolchain@{name}" / "bin" / "go").mkdir(parents=True)
        world.go_settings["GOMODCACHE"] = str(modules)
        assert world.look_at(make_case(tmp_path))["go-download"].text == "Go 1.25.0 was fetched before"

    def test_the_machines_own_is_enough(self, world: World, tmp_path: Path) -> None:
        world.go_version = "1.25.0"
        assert world.look_at(make_case(tmp_path))["go-download"].state is State.OK


class TestGoModules:
    def test_a_proxy_that_does_not_answer(self, world: World, tmp_path: Path) -> None:
        class Refusing(FakeDownloader):
            def exists(self, url: str) -> bool:
                if url.startswith(PROXY):
                    raise ArtifactError(f"cannot download {url}: Connection refused", hint="Is it running?")
                return super().exists(url)

        world.downloader = Refusing(world.downloader.files)
        world.go_version = "1.25.0"
        found = world.look_at(make_case(tmp_path))["go-modules"]
        assert (found.state, "go env GOPROXY" in found.mend) == (State.FAILED, True)

    @pytest.mark.parametrize("setting", ["direct", "off", ""])
    def test_no_proxy_at_all(self, world: World, tmp_path: Path, setting: str) -> None:
        world.go_settings["GOPROXY"] = setting
        assert world.look_at(make_case(tmp_path))["go-modules"].state is State.WARNING


class TestEngine:
    def test_docker_is_taken_where_it_answers(self, world: World, tmp_path: Path) -> None:
        found = world.look_at(make_case(tmp_path))["engine"]
        assert found.text == "Docker 28.5.2 with the containerd image store assembles: it answers, so auto takes it"

    def test_without_it_auto_does_it_alone(self, world: World, tmp_path: Path) -> None:
        world.engine = EngineError("no Docker engine answers", hint="Start Docker.")
        found = world.look_at(make_case(tmp_path))["engine"]
        assert (found.state, "as auto finds no Docker: no Docker engine answers" in found.text) == (State.OK, True)

    def test_asked_for_it_is_needed(self, world: World, tmp_path: Path) -> None:
        world.engine = EngineError("no Docker engine answers", hint="Start Docker.")
        found = world.look_at(make_case(tmp_path, engine="buildx"))["engine"]
        assert (found.state, found.mend) == (State.FAILED, "Start Docker.")

    def test_builtin_asks_nobody(self, world: World, tmp_path: Path) -> None:
        world.engine = EngineError("nobody may ask")
        assert world.look_at(make_case(tmp_path, engine="builtin"))["engine"].state is State.OK

    def test_what_needs_docker_cannot_do_without(self, world: World, tmp_path: Path) -> None:
        book = change_template(load_book(), "pilot.Dockerfile.j2", "RUN true\n")
        found = world.look_at(make_case(tmp_path, engine="builtin", book=book))["engine"]
        assert (found.state, "pilot.Dockerfile.j2, which has a RUN, needs Docker" in found.text) == (State.FAILED, True)


class TestEmulation:
    def test_a_template_with_run_needs_it(self, world: World, tmp_path: Path) -> None:
        book = change_template(load_book(), "pilot.Dockerfile.j2", "RUN true\n")
        found = world.look_at(make_case(tmp_path, book=book))
        assert found["emulation linux/arm64"].state is State.OK
        world.engine = Assembler(name="Docker 28.5.2", platforms=("linux/amd64",))
        found = world.look_at(make_case(tmp_path, book=book))
        assert found["emulation linux/amd64"].state is State.OK
        assert (found["emulation linux/arm64"].state, "qemu-user-static" in found["emulation linux/arm64"].mend) == (
            State.FAILED,
            True,
        )

    def test_so_does_starting_programs(self, world: World, tmp_path: Path) -> None:
        world.engine = EngineError("no Docker engine answers")
        assert world.look_at(make_case(tmp_path, starts=True))["emulation linux/arm64"].state is State.WARNING


class TestDisks:
    @pytest.mark.parametrize(
        ("free", "state"), [(10_000_000_000, State.OK), (2_000_000_000, State.WARNING), (50_000_000, State.FAILED)]
    )
    def test_room(self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: State) -> None:
        monkeypatch.setattr(machine, "free_bytes", lambda path: free)
        found = world.look_at(make_case(tmp_path))[f"disk {tmp_path / 'cache'}"]
        assert found.state is state
        assert state is State.OK or "istio-build cache prune" in found.mend

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_where_this_user_may_not_write(self, world: World, tmp_path: Path) -> None:
        assert world.look_at(make_case(tmp_path, output=Path("/sys/images")))["disk /sys/images"].state is State.FAILED


class TestCache:
    def test_more_than_its_limit(self, world: World, tmp_path: Path) -> None:
        blob = tmp_path / "cache" / "artifacts" / "aa"
        blob.parent.mkdir(parents=True)
        blob.write_bytes(b"x" * 100_000)
        found = world.look_at(make_case(tmp_path))[f"cache {tmp_path / 'cache'}"]
        assert found.state is State.OK
        limited = make_case(tmp_path)
        limited = replace(limited, job=replace(limited.job, cache=CacheLimits(max_size=1000)))
        found = world.look_at(limited)[f"cache {tmp_path / 'cache'}"]
        assert (found.state, found.mend) == (State.WARNING, "`istio-build cache prune`")


class TestRuns:
    def test_a_run_of_the_same_job(self, world: World, tmp_path: Path) -> None:
        case = make_case(tmp_path)
        assert case.tree
        with Workspace(case.cache).job(case.tree, HUB, lambda: None, time.sleep):
            found = world.look_at(case)["runs"]
        assert (found.state, "this very job" in found.text) == (State.WARNING, True)
        assert world.look_at(case)["runs"].state is State.OK

    def test_a_run_of_another_job_is_named(self, world: World, tmp_path: Path) -> None:
        runs = Workspace(tmp_path / "cache").runs
        runs.enter()
        found = world.look_at(make_case(tmp_path))["runs"]
        runs.leave()
        assert (found.state, f"process {os.getpid()} on " in found.text) == (State.OK, True)

    def test_tags_that_a_run_which_was_cut_off_had_begun_to_move(self, world: World, tmp_path: Path) -> None:
        journal = Journal(Workspace(tmp_path / "cache").journals, [PILOT])
        journal.begin({PILOT.at("1.29.0"): Move(before=None, after=make_digest("x"))})
        found = world.look_at(make_case(tmp_path))["runs"]
        assert (found.state, "had begun to move 1 tag" in found.text) == (State.WARNING, True)

    def test_a_journal_that_cannot_be_read(self, world: World, tmp_path: Path) -> None:
        directory = Workspace(tmp_path / "cache").journals
        Journal(directory, [PILOT]).begin({PILOT.at("1.29.0"): Move(before=None, after=make_digest("x"))})
        [path] = directory.glob("*.json")
        path.write_text("{")
        assert world.look_at(make_case(tmp_path))["runs"].state is State.FAILED
        with pytest.raises(JournalError):
            Journal(directory, [PILOT]).left_runs()


class TestSource:
    NAME = "source 1.29.0 of https://git.example/istio"

    def test_one_that_is_not_fetched_yet_is_asked_for_and_what_stands_in_it_is_told(self, world: World, tmp_path: Path) -> None:
        found = world.look_at(make_case(tmp_path, source=None, tree=None))
        assert (found[self.NAME].state, "fetched when it is first needed" in found[self.NAME].text) == (State.OK, True)
        for name in ("base-image base", "artifact envoy linux/arm64", "go-download"):
            assert (found[name].state, "istio-build plan" in found[name].mend) == (State.SKIPPED, True)

    def test_a_release_that_there_is_not(self, world: World, tmp_path: Path) -> None:
        world.tags = set()
        assert world.look_at(make_case(tmp_path, source=None, tree=None))[self.NAME].state is State.FAILED

    def test_what_is_wrong_with_a_checkout(self, world: World, tmp_path: Path) -> None:
        found = world.look_at(make_case(tmp_path, source=None, trouble="x is no directory", trouble_hint="Name one."))[self.NAME]
        assert (found.state, found.text, found.mend) == (State.FAILED, "x is no directory", "Name one.")

    def test_none_was_given(self, world: World, tmp_path: Path) -> None:
        case = make_case(tmp_path, source=None, tree=None)
        case = replace(case, job=replace(case.job, source=SourceRequest()))
        assert world.look_at(case)["source"].state is State.SKIPPED

    def test_changes_that_are_not_committed(self, world: World, tmp_path: Path) -> None:
        found = world.look_at(make_case(tmp_path, source=make_source(make_state(dirty=True))))[self.NAME]
        assert "with changes that are not committed" in found.text


class TestWhatOthersHave:
    def test_a_base_without_a_platform(self, world: World, tmp_path: Path) -> None:
        add_base(world.registry, f"docker.io/istio/distroless:{BASE_TAG}", (AMD64,))
        with pytest.raises(BaseImageError, match="has no linux/arm64"):
            world.look_at(make_case(tmp_path))

    def test_an_envoy_that_is_gone(self, world: World, tmp_path: Path) -> None:
        world.downloader.files = {url: text for url, text in world.downloader.files.items() if not url.endswith(".tar.gz")}
        with pytest.raises(ArtifactError, match=r"envoy for linux/(amd64|arm64) cannot be had"):
            world.look_at(make_case(tmp_path))

    def test_one_of_the_users_own_without_a_checksum_that_is_right(self, world: World, tmp_path: Path) -> None:
        own = tmp_path / "envoy"
        own.write_text("a program")
        case = make_case(tmp_path)
        override = ArtifactOverride(artifact="envoy", platform=ARM64, location=str(own))
        case = replace(case, job=replace(case.job, request=replace(case.request, artifact_overrides=(override,))))
        assert world.look_at(case)["artifact envoy linux/arm64"].text == f"{own} is there"

    def test_what_nobody_publishes_a_checksum_of_is_not_fetched(self, world: World, tmp_path: Path) -> None:
        case = make_case(tmp_path, images=("ztunnel",))
        url = "https://storage.googleapis.com/istio-build/ztunnel"
        for suffix in ("amd64", "arm64"):
            world.downloader.files[f"{url}/ztunnel-{'a' * 40}-{suffix}"] = b"a program"
        found = world.look_at(case)["artifact ztunnel linux/amd64"]
        assert (found.state, "no checksum of it is published" in found.text) == (State.WARNING, True)
        assert not any(asked.endswith("-amd64") for asked in world.downloader.asked)

    def test_nobody_but_hubs_is_asked_with_offline(self, world: World, tmp_path: Path) -> None:
        case = make_case(tmp_path, offline=True)
        found = world.look_at(case)
        skipped = {name for name, one in found.items() if one.state is State.SKIPPED}
        assert {"go-download", "go-modules", "base-image base", "artifact envoy linux/amd64"} <= skipped
        assert world.downloader.asked == world.downloader.probed == []
        assert found[f"push {HUB}"].state is State.OK


class TestHubs:
    def test_a_hub_that_refuses_us_says_who_we_were(self, world: World, tmp_path: Path) -> None:
        denied = AccessDenied("cannot push to it: 403", hint="Ask for the right.", status=403)
        world.registry.fail_on = lambda operation, key: denied if operation == "check_push" and "pilot" in key else None
        found = world.look_at(make_case(tmp_path))[f"push {HUB}"]
        assert (found.state, found.mend) == (State.FAILED, "Ask for the right.")
        world.login = False
        found = world.look_at(make_case(tmp_path))[f"push {HUB}"]
        assert (found.state, found.mend) == (State.FAILED, "`docker login registry.corp.example`")
        assert "without credentials" in found.text

    def test_a_hub_that_is_not_there(self, world: World, tmp_path: Path) -> None:
        away = RegistryError("cannot push to it: Connection refused", hint="Is it running?")
        world.registry.fail_on = lambda operation, key: away if operation == "check_push" else None
        assert world.look_at(make_case(tmp_path))[f"push {HUB}"].state is State.FAILED

    def test_no_hub_was_given(self, world: World, tmp_path: Path) -> None:
        found = world.look_at(make_case(tmp_path, hubs=()))
        assert found["push"].state is State.SKIPPED
        assert found["base-image base"].state is State.OK

    def put_record(self, world: World, record: HubRecord) -> None:
        world.registry.manifests[PILOT]["istio-build-run"] = write_record(record)

    def lease(self, seconds: float) -> Lease:
        now = datetime.now(UTC)
        expires = now + timedelta(seconds=seconds)
        return Lease(run="theirs", owner="ci-7, process 12", started=now, expires=expires, seconds=60)

    def test_somebody_moves_tags_there(self, world: World, tmp_path: Path) -> None:
        self.put_record(world, HubRecord(lease=self.lease(30)))
        found = world.look_at(make_case(tmp_path))[f"lease {HUB}"]
        assert found.state is State.WARNING
        assert f"ci-7, process 12 moves tags in {PILOT} since " in found.text
        assert "its lease expires at " in found.text

    @pytest.mark.parametrize("held", [True, False])
    def test_a_run_died_there(self, world: World, tmp_path: Path, held: bool) -> None:
        reference = ImageReference.parse(f"{PILOT}:1.29.0")
        moves = {reference: NotedMove(before=None, after=Digest(f"sha256:{'1' * 64}"))}
        self.put_record(world, HubRecord(lease=self.lease(-30) if held else None, run="theirs", moves=moves))
        found = world.look_at(make_case(tmp_path))[f"lease {HUB}"]
        assert (found.state, "the next push settles that first" in found.meaning) == (State.WARNING, True)

    def test_a_record_that_cannot_be_read(self, world: World, tmp_path: Path) -> None:
        add_base(world.registry, f"{PILOT}:istio-build-run")
        with pytest.raises(JournalError):
            world.look_at(make_case(tmp_path))

    @pytest.mark.parametrize(
        ("ahead", "state", "told"),
        [
            (0.3, State.OK, "it agrees with that of registry.corp.example"),
            (-90, State.WARNING, "this machine is 90 s ahead of registry.corp.example"),
            (3600, State.FAILED, "this machine is 3600 s behind registry.corp.example"),
            (None, State.SKIPPED, "registry.corp.example does not tell the time"),
        ],
    )
    def test_clocks(self, world: World, tmp_path: Path, ahead: float | None, state: State, told: str) -> None:
        world.clock = ahead
        found = world.look_at(make_case(tmp_path))["clock registry.corp.example"]
        assert (found.state, found.text) == (state, told)

    def test_the_clock_counts_also_where_the_answer_is_a_refusal(self, world: World, tmp_path: Path) -> None:
        denied = AccessDenied("no", status=401)
        case = make_case(tmp_path, images=("pilot",))
        world.registry.fail_on = lambda operation, key: denied if "registry.corp.example" in key else None
        [check] = [check for check in hub_checks(case) if check.name == "clock"]
        assert check.look(world.probes()).state is State.OK

    def test_proxies(self, world: World, tmp_path: Path) -> None:
        assert world.look_at(make_case(tmp_path))["proxies"].text == "none: registry.corp.example, git.example directly"
        world.proxies = {"git.example": "http://proxy:3128"}
        found = world.look_at(make_case(tmp_path))["proxies"]
        assert found.text == "http://proxy:3128 for git.example; registry.corp.example directly"


def test_the_oldest_release_is_looked_at_too(world: World, tmp_path: Path) -> None:
    release = IstioRelease(1, 12, 0)
    found = world.look_at(make_case(tmp_path, book=load_book(release=release), source=None, tree=None))
    assert found["base-image base"].state is State.SKIPPED
