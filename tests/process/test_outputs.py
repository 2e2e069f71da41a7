"""What runs leave behind besides their images: pages, traces, metrics; and what the programs they start are not told."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.test_interruption import end, started
from tests.process.test_without_docker import RECIPE, TEMPLATE, hub_with_a_base
from tests.real.program import Ended, command, istio_build
from tests.unit.cli.test_record_view import validate
from tests.unit.report.test_metrics import samples, value
from tests.unit.report.test_page import Page

SECRET = "s3cr3t-w0rd"


class Job:
    """A job that pushes one small image, and tells of it in all ways."""

    def __init__(self, host: str, source: Path, work: Path) -> None:
        self.host, self.source, self.work = host, source, work
        recipes = work / "recipes"
        recipes.mkdir()
        (recipes / "note.yaml").write_text(RECIPE)
        (recipes / "note.Dockerfile.j2").write_text(TEMPLATE)
        (work / "istio-build.yaml").write_text(
            "recipes: recipes\nimage: note\nengine: builtin\nreport: reports\ntrace: trace.json\nmetrics: job.prom\n"
        )
        self.env = {"ISTIO_BUILD_CACHE": str(work / "cache"), "DOCKER_CONFIG": str(work)}

    def push(self, *more: str, hub: str = "", **env: str) -> Ended:
        return self.run("push", *self.made_of, "--hub", hub or f"{self.host}/istio", *more, **env)

    def run(self, *words: str, **env: str) -> Ended:
        return istio_build(*words, env={**self.env, **env}, cwd=self.work)

    @property
    def made_of(self) -> tuple[str, ...]:
        return ("--source", str(self.source), "--base-registry", f"{self.host}/istio-base")

    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.work / "reports" / "report.json").read_text())
        validate("run.json", document)
        return document

    def metrics(self) -> str:
        return (self.work / "job.prom").read_text()


@pytest.fixture
def job(source: Path, tmp_path: Path) -> Iterator[Job]:
    with hub_with_a_base(tmp_path) as host:
        yield Job(host, source, tmp_path)


def test_every_run_leaves_a_page_a_trace_and_metrics_and_the_newest_leads_to_the_others(job: Job) -> None:
    first = job.push()
    assert first.code == 0, first.stderr
    told = job.report()
    (release,) = told["releases"]
    assert (told["ok"], told["changed"], told["summary"]) == (True, True, "1 built")
    assert f"{release['report']['images'][0]['references'][0]}@{release['report']['images'][0]['digest']}" in first.stdout
    assert release["inputs"]["bases"]["base"].startswith(f"{job.host}/istio-base/base:")
    assert {task["stage"] for task in told["tasks"]} >= {"resolve", "look", "assemble", "push", "verify", "tag"}
    events = json.loads((job.work / "trace.json").read_text())["traceEvents"]
    assert len([event for event in events if event["ph"] == "X"]) == len(told["tasks"])
    assert samples(job.metrics(), "last_run_images") == {"built": 1}

    assert job.push().code == 0
    again = job.report()
    assert (again["changed"], again["summary"]) == (False, "1 unchanged")
    succeeded = value(job.metrics(), "last_success_timestamp_seconds")

    refused = job.push(hub="127.0.0.1:9/istio")
    assert refused.code == 13
    failed = job.report()
    assert failed["error"]["message"] in refused.stderr
    assert value(job.metrics(), "last_success_timestamp_seconds") == succeeded
    assert samples(job.metrics(), "failures_total") == {"13": 1}
    page = Page((job.work / "reports" / "index.html").read_text())
    assert failed["error"]["message"] in page.text
    links = [link for link in page.attributes("href") if link[0].isdigit()]
    assert [json.loads((job.work / "reports" / link).with_suffix(".json").read_text())["id"] for link in links] == [
        again["id"],
        told["id"],
    ]


def test_each_command_that_does_something_tells_of_it(job: Job) -> None:
    hub = f"{job.host}/istio"
    assert job.push().code == 0
    calls = {
        ("build", *job.made_of, "--hub", hub): (0, "1 built"),
        ("promote", "--from", f"{hub}:1.29.0", "--tag", "1.29.0-rc", "--istio", "1.29.0"): (0, "1 promoted"),
        ("push", "--from", "istio-images", "--tag", "again"): (0, "1 given"),
        ("verify", "--tag", "1.29.0", "--hub", hub, "--istio", "1.29.0"): (0, "1 image verified, 0 faults"),
        ("verify", f"{hub}/note:none"): (16, "failed (16): the hub is not right: 1 fault in 1 of 1 image"),
        ("rollback", "--hub", hub, "--tag", "none"): (2, f"failed (2): {hub} remembers no release with the tag none"),
    }
    for words, (code, summary) in calls.items():
        ended = job.run(*words)
        told = job.report()
        assert (ended.code, told["command"], told["summary"]) == (code, words[0], summary), ended.stderr
        assert told["hubs"] in ([hub], [])
    reports = sorted((job.work / "reports").iterdir())
    assert len(reports) == 2 * (len(calls) + 1) + 2
    # What is only shown is no run.
    assert job.run("plan", *job.made_of, "--hub", hub).code == 0
    assert job.run("rollback", "--hub", hub, "--tag", "1.29.0-rc", "--dry-run").code in (0, 2)
    assert sorted((job.work / "reports").iterdir()) == reports


def test_what_cannot_be_written_is_told_before_anything_is_sent(job: Job) -> None:
    ended = job.push("--metrics", "nowhere/job.prom")
    assert (ended.code, ended.stdout) == (2, "")
    assert "--metrics: there is no directory nowhere" in ended.stderr
    assert not (job.work / "reports" / "report.json").exists()


def test_no_program_that_is_started_gets_to_know_whom_we_notify(job: Job) -> None:
    git = shutil.which("git")
    shim = job.work / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nenv >>"{job.work}/env"\necho "$@" >>"{job.work}/env"\nexec {git} "$@"\n')
    shim.chmod(0o755)
    address = f"json://me:{SECRET}@127.0.0.1:9/{SECRET}"
    path = f"{shim.parent}:{os.environ['PATH']}"
    ended = job.push("--notify", "$HOOK", "--notify-on", "always", "--progress", "json", PATH=path, HOOK=address)
    both = job.push(PATH=path, ISTIO_BUILD_NOTIFY=address)
    assert (ended.code, both.code) == (0, 0)
    assert "PATH=" in (job.work / "env").read_text()
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [event["event"] for event in events][-2:] == ["warning", "result"]
    assert "address 1 of --notify could not be told" in events[-2]["text"]
    everything = [path.read_text() for path in (job.work / "env", job.work / "trace.json", *(job.work / "reports").iterdir())]
    for text in (*everything, job.metrics(), ended.stdout, ended.stderr, both.stdout, both.stderr):
        assert SECRET not in text


def test_a_run_that_is_interrupted_is_told_of_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        words = command("verify", f"{host}/istio/pilot:1", "--report", tmp_path / "reports", "--timeout", "60")
        with started(tuple(words), {"ISTIO_BUILD_CACHE": str(tmp_path / "cache")}) as process:
            connection, _ = silent.accept()
            end(process, signal.SIGINT)
            connection.close()
    document = json.loads((tmp_path / "reports" / "report.json").read_text())
    validate("run.json", document)
    assert document["error"]["exit_code"] == process.returncode == 130
