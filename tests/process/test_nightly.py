"""Every night, as a platform team runs it: three releases of a repository into a registry, from the project file alone."""

import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.oci.layout import Layout
from builder.oci.reference import ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests import ROOT
from tests.fakes.fault_server import FaultServer, Received, Stall, TinyRegistry
from tests.real.program import Ended, command, environment, istio_build
from tests.real.said_twice import said_twice
from tests.samples.images import AMD64, ARM64, BASE_LAYER, add_image, make_config, write_image_index
from tests.samples.seeding import seed

PROJECT = """\
hub: {host}/istio
istio: 1.29+
git_url: source
image: [istioctl]
variant: [distroless]
go: machine
engine: builtin
base: {{ iptables: "{host}/bases/iptables:1", distroless: "{host}/bases/iptables:1", base: "{host}/bases/iptables:1" }}
moving_tags: ["{{{{ line }}}}", latest]
"""
# Says what it is asked for, and does it.
GO = '#!/bin/sh\necho "$@" >>"{log}"\nexec "{go}" "$@"\n'


@dataclass
class Site:
    """A directory with the project file, the repository, and a Go that keeps what it was asked for."""

    directory: Path
    server: FaultServer
    registry: TinyRegistry
    machine: str = "one"
    seen: list[Received] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """That of a run on this machine."""
        path = f"{self.directory / 'bin'}:{os.environ['PATH']}"
        return {"ISTIO_BUILD_CACHE": str(self.directory / self.machine), "PATH": path}

    def run(self, *words: str) -> Ended:
        """A run of the program on this machine; `seen` are the requests to the registry, `compiled` what Go compiled."""
        (self.directory / "go.log").write_text("")
        self.server.received.clear()
        ended = istio_build(*words, cwd=self.directory, env=self.env)
        self.seen = list(self.server.received)
        return ended

    @property
    def compiled(self) -> list[str]:
        """The calls of `go build`."""
        return [line for line in (self.directory / "go.log").read_text().splitlines() if line.startswith("build ")]

    @property
    def sent(self) -> list[str]:
        """The requests that change something."""
        return [f"{request.method} {request.path}" for request in self.seen if request.method not in ("GET", "HEAD")]

    def release(self, tag: str, *, breaks: bool = False) -> None:
        """A release more in the repository."""
        tree = self.directory / "source"
        (tree / "VERSION").write_text(f"{tag.rpartition('.')[0]}\n")
        if breaks:
            (tree / "istioctl/cmd/istioctl/main.go").write_text("package main\n\nfunc main() { no }\n")
        git = ("git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run([*git, "commit", "--quiet", "--all", "--allow-empty", "--message", tag], check=True)
        subprocess.run([*git, "tag", tag], check=True)

    def tag(self, tag: str) -> str:
        """The version of the istioctl that a tag is at, "" where there is none."""
        found = self.registry.manifests.get(f"istio/istioctl:{tag}")
        return str(json.loads(found[1])["annotations"]["org.opencontainers.image.version"]) if found else ""


@pytest.fixture
def site(tmp_path: Path, go: Path) -> Iterator[Site]:
    registry = TinyRegistry()
    with FaultServer(registry).running() as server:
        subprocess.run([ROOT / "examples" / "make-source", tmp_path / "source", "1.30.0", "1.31.0", "1.32.0-rc.0"], check=True)
        (tmp_path / "istio-build.yaml").write_text(PROJECT.format(host=server.host))
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "go").write_text(GO.format(log=tmp_path / "go.log", go=go))
        (tmp_path / "bin" / "go").chmod(0o755)
        layout = Layout(tmp_path / "base")
        images = {platform: add_image(layout, make_config(platform), [BASE_LAYER]) for platform in (AMD64, ARM64)}
        client = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=lambda _: None))
        seed(client, write_image_index(layout.root, images), ImageReference.parse(f"{server.host}/bases/iptables:1"))
        yield Site(tmp_path, server, registry)


def test_one_night_after_the_other(site: Site) -> None:
    first = site.run("nightly", "--metadata-file", "pushed.json")
    assert first.code == 0, first.stderr
    assert re.fullmatch(
        r"1\.31\.0 pushed \(1 image made, 3 tags moved\), 1\.30\.0 pushed \(1 image made, 2 tags moved\), "
        r"1\.29\.0 pushed \(1 image made, 2 tags moved\); [\d.]+ s\n",
        first.stdout,
    )
    assert len(site.compiled) == 6
    assert said_twice(first, releases=3, tables=3) == []
    # A log of several says where each begins.
    assert re.findall(r"^resolve   ([\d.]+): source, bases, artifacts, Go \.\.\.$", first.stderr, re.MULTILINE) == [
        *("1.31.0", "1.30.0", "1.29.0")
    ]
    names = {"latest-distroless": "1.31.0", "1.31-distroless": "1.31.0", "1.30-distroless": "1.30.0", "1.29-distroless": "1.29.0"}
    assert {name: site.tag(name) for name in names} == names
    pushed = json.loads((site.directory / "pushed.json").read_text())
    assert list(pushed) == ["1.31.0", "1.30.0", "1.29.0"]
    host = site.server.host
    assert pushed["1.30.0"]["istioctl-distroless"]["image.name"] == (
        f"{host}/istio/istioctl:1.30.0-distroless,{host}/istio/istioctl:1.30-distroless"
    )

    # The next night nothing has changed, on this machine or on one that knows nothing: cron has nothing to mail.
    for machine in ("one", "two"):
        site.machine = machine
        second = site.run("nightly", "--quiet", "--changed-exit-code", "5")
        assert (second.code, second.stdout, second.stderr) == (0, "", "")
        assert site.compiled == []
        assert site.sent == []
        configs = {json.loads(body)["config"]["digest"] for _, body in site.registry.manifests.values() if b'"config"' in body}
        blobs = {
            request.path.rpartition("/")[2] for request in site.seen if request.method == "GET" and "/blobs/" in request.path
        }
        assert blobs <= configs
        assert len(site.seen) < 60

    # No engine is looked for, as nothing is to be assembled.
    told = site.run("nightly", "--engine", "auto")
    assert told.stdout.startswith("nothing changed: 1.31.0, 1.30.0, 1.29.0; ")
    assert "assembled" not in told.stderr

    # A patch comes out: it is built alone, and its line's tag goes on. `latest` is that of a newer line.
    site.release("1.30.1")
    third = site.run("nightly", "--changed-exit-code", "5", "--output-format", "json")
    assert third.code == 5, third.stderr
    document = json.loads(third.stdout)
    assert [(each["release"], each["state"]) for each in document["releases"]] == [
        *[("1.31.0", "unchanged"), ("1.30.1", "pushed"), ("1.29.0", "unchanged")]
    ]
    assert document["changed"] is True
    assert len(site.compiled) == 2
    assert (site.tag("1.30-distroless"), site.tag("1.30.0-distroless")) == ("1.30.1", "1.30.0")
    assert site.tag("latest-distroless") == "1.31.0"
    assert "verify" in third.stderr

    # A release that does not compile keeps its own tags back, and no others.
    site.release("1.29.1")
    site.release("1.32.0", breaks=True)
    fourth = site.run("nightly", "--metadata-file", "pushed.json")
    assert fourth.code == 28, fourth.stderr
    assert fourth.stdout.startswith("1.32.0 failed (code 7), 1.31.0 unchanged, 1.30.1 unchanged, 1.29.1 pushed (")
    assert "1 of 4 releases failed:\n1.32.0: " in fourth.stderr
    assert "istioctl/cmd/istioctl/main.go" in fourth.stderr
    assert "at the hub: 1.31.0, 1.30.1, 1.29.1" in fourth.stderr
    assert said_twice(fourth, releases=4, tables=2) == []
    assert (site.tag("latest-distroless"), site.tag("1.32-distroless"), site.tag("1.29-distroless")) == ("1.31.0", "", "1.29.1")
    assert list(json.loads((site.directory / "pushed.json").read_text())) == ["1.31.0", "1.30.1", "1.29.1"]


def test_a_tag_that_somebody_has_moved_goes_back_and_that_is_told(site: Site) -> None:
    assert site.run("nightly").code == 0
    tags = site.registry.manifests
    right, other = tags["istio/istioctl:latest-distroless"], tags["istio/istioctl:1.29.0-distroless"]
    tags["istio/istioctl:latest-distroless"] = other
    second = site.run("nightly", "--report", "pages", "--quiet")
    assert second.code == 0, second.stderr
    assert tags["istio/istioctl:latest-distroless"] == right
    assert site.compiled == []
    assert second.stdout.startswith("1.31.0 pushed (0 images made, 1 tag moved), 1.30.0 unchanged, 1.29.0 unchanged; ")
    run = json.loads((site.directory / "pages" / "report.json").read_text())
    assert run["summary"] == "1.31.0: 1 unchanged, 1 tag moved; unchanged: 1.30.0, 1.29.0"
    [image] = run["releases"][0]["report"]["images"]
    before = f"sha256:{hashlib.sha256(other[1]).hexdigest()}"
    assert image["moved"] == [{"reference": f"{site.server.host}/istio/istioctl:latest-distroless", "before": before}]
    assert before in (site.directory / "pages" / "index.html").read_text()


def test_an_old_line_alone_takes_no_tag_back(site: Site) -> None:
    assert site.run("push", "--istio", "latest").code == 0
    assert site.tag("latest-distroless") == "1.31.0"
    site.machine = "two"
    older = site.run("push", "--istio", "1.29")
    assert older.code == 0, older.stderr
    assert "istio/istioctl:latest-distroless stays where it is: at 1.31.0 of commit " in older.stderr
    assert (site.tag("latest-distroless"), site.tag("1.29-distroless")) == ("1.31.0", "1.29.0")
    # One release is told as ever.
    assert older.stdout.splitlines()[0].startswith(f"{site.server.host}/istio/istioctl:1.29.0-distroless@sha256:")


def test_several_releases_of_a_push_need_tags_of_their_own(site: Site) -> None:
    refused = site.run("push", "--tag", "corp")
    assert refused.code == 2
    assert "the tag corp would be that of 1.31.0 and of 1.30.0" in refused.stderr
    assert "'{{ release }}-corp.1'" in refused.stderr
    assert site.sent == site.compiled == []
    tagged = site.run("push", "--istio", "1.29 to 1.30", "--tag", "{{ release }}-corp", "--progress", "json")
    assert tagged.code == 0, tagged.stderr
    assert [line.partition("@")[0] for line in tagged.stdout.splitlines()] == [
        *(
            f"{site.server.host}/istio/istioctl:{tag}-distroless"
            for tag in ("1.30.0-corp", "1.30", "latest", "1.29.0-corp", "1.29")
        )
    ]
    events = [json.loads(line) for line in tagged.stderr.splitlines()]
    told = [(event["release"], event["state"]) for event in events if event["event"] == "release"]
    assert told == [("1.30.0", "pushed"), ("1.29.0", "pushed")]
    assert [each["release"] for each in events[-1]["report"]["releases"]] == ["1.30.0", "1.29.0"]


def test_the_first_that_fails_may_end_the_run(site: Site) -> None:
    site.release("1.33.0", breaks=True)
    ended = site.run("push", "--fail-fast", "--progress", "json")
    assert (ended.code, ended.stdout) == (28, "")
    error = json.loads(ended.stderr.splitlines()[-1])
    assert [(each["release"], each["state"], each["exit_code"]) for each in error["releases"]] == [
        *[("1.33.0", "failed", 7), ("1.31.0", "skipped", 0), ("1.30.0", "skipped", 0), ("1.29.0", "skipped", 0)]
    ]
    assert "not begun (--fail-fast): 1.31.0, 1.30.0, 1.29.0" in error["message"]
    # Of one release its own error is the run's.
    assert site.run("push", "--istio", "latest").code == 7


def test_what_all_releases_fail_with_is_told_once(site: Site) -> None:
    failed = site.run("push", "--hub", "127.0.0.1:1/istio", "--timeout", "5")
    assert failed.code == 28, failed.stderr
    assert said_twice(failed, releases=3) == []


def test_an_interruption_ends_all_and_says_what_is_out(site: Site) -> None:
    second = r"/istio/istioctl/manifests/1\.30\.0"
    site.server.inject("GET", second, Stall())
    words = command("nightly", "--metadata-file", "pushed.json")
    env, pipe = environment(site.env), subprocess.PIPE
    with subprocess.Popen(words, cwd=site.directory, env=env, text=True, stdout=pipe, stderr=pipe) as process:
        deadline = time.monotonic() + 120
        while not site.server.requests("GET", second):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, "")
    assert "error: 1.30.0: interrupted; no tag has moved\nbefore it: 1.31.0 pushed\n" in stderr
    assert (site.tag("latest-distroless"), site.tag("1.30-distroless"), site.tag("1.29-distroless")) == ("1.31.0", "", "")
    assert list(json.loads((site.directory / "pushed.json").read_text())) == ["1.31.0"]


def test_what_other_commands_make_of_rules(site: Site) -> None:
    plan = site.run("plan", "--istio", "1.29")
    assert plan.code == 0, plan.stderr
    assert "istioctl:1.29.0-distroless" in plan.stdout
    several = site.run("plan")
    assert several.code == 0, several.stderr
    shown = [tag for tag in ("1.31.0", "1.31", "latest", "1.30.0", "1.30") if f"istioctl:{tag}-distroless" in several.stdout]
    assert shown == ["1.31.0", "1.31", "latest", "1.30.0", "1.30"]
    for words in (("build",), ("archives",), ("lock",), ("plan", "--format", "json")):
        refused = site.run(*words)
        assert refused.code == 2, refused.stderr
        assert "this is of one release, and 3 are asked for: 1.31.0, 1.30.0, 1.29.0" in refused.stderr
    unknown = site.run("plan", "--istio", "1.28")
    assert unknown.code == 4
    assert f"--istio 1.28: there is no such release at {site.directory / 'source'}; the newest lines are 1.31, 1.30, 1.29" in (
        unknown.stderr
    )
    candidates = site.run("plan", "--istio", "1.32")
    assert "Of 1.32 there is 1.32.0-rc.0: such a one is named exactly." in candidates.stderr
    bound = site.run("lock", "--istio", "1.30")
    assert bound.code == 0, bound.stderr
    site.release("1.30.1")
    locked = site.run("plan", "--istio", "1.30", "--locked")
    assert locked.code == 0, locked.stderr
    assert "istioctl:1.30.0-distroless" in locked.stdout
