"""The cache as a user has it: shown, pruned, and pruned while a push is at work with it, all in processes of their own."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema_rs
import pytest

from builder.oci.layout import Layout
from builder.oci.reference import ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests import ROOT
from tests.fakes.fault_server import FaultServer, Received, Reply, TinyRegistry
from tests.process.test_without_docker import BASE_TAG, RECIPE, TEMPLATE
from tests.real.program import Ended, command, environment, istio_build
from tests.samples.images import AMD64, ARM64, BASE_LAYER, add_image, make_config, write_image_index
from tests.samples.seeding import seed

DAY = 86400.0


class Door:
    """A registry that lets nobody move a tag before it is opened."""

    def __init__(self) -> None:
        self.registry = TinyRegistry()
        self.reached, self.open = threading.Event(), threading.Event()
        self.open.set()

    def __call__(self, received: Received) -> Reply:
        if received.method == "PUT" and received.path.endswith("/manifests/1.29.0"):
            self.reached.set()
            assert self.open.wait(120)
        return self.registry(received)


@dataclass
class Site:
    """A source, a registry with its base, and another one to push to, so that the base's layer has to be fetched."""

    source: Path
    work: Path
    bases: str
    hub: str
    door: Door

    @property
    def cache(self) -> Path:
        return self.work / "cache"

    @property
    def env(self) -> dict[str, str]:
        return {"ISTIO_BUILD_CACHE": str(self.cache), "DOCKER_CONFIG": str(self.work)}

    def words(self, hub: str) -> tuple[str, ...]:
        what = ("--source", str(self.source), "--recipes", str(self.work / "recipes"), "--image", "note")
        return (*what, "--base-registry", f"{self.bases}/istio-base", "--engine", "builtin", "--hub", f"{self.hub}/{hub}")

    def push(self, hub: str, *more: str) -> Ended:
        return istio_build("push", *self.words(hub), *more, env=self.env)

    def run(self, *words: str) -> Ended:
        return istio_build("cache", *words, env=self.env, cwd=self.work)

    def age(self, days: float) -> None:
        then = time.time() - days * DAY
        for path in self.cache.rglob("*"):
            os.utime(path, (then, then))

    def names(self, kind: str) -> set[str]:
        return {path.name for path in (self.cache / kind).iterdir() if path.name != ".used"}


@pytest.fixture
def site(source: Path, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "note.yaml").write_text(RECIPE)
    (tmp_path / "recipes" / "note.Dockerfile.j2").write_text(TEMPLATE)
    door = Door()
    with FaultServer(TinyRegistry()).running() as bases, FaultServer(door).running() as hub:
        layout = Layout(tmp_path / "base")
        images = {platform: add_image(layout, make_config(platform), [BASE_LAYER]) for platform in (AMD64, ARM64)}
        registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=lambda _: None))
        seed(registry, write_image_index(layout.root, images), ImageReference.parse(f"{bases.host}/istio-base/base:{BASE_TAG}"))
        yield Site(source, tmp_path, bases.host, hub.host, door)
        door.open.set()


def check_schema(document: object) -> None:
    schema = json.loads((ROOT / "docs/schemas/cache.json").read_text())
    jsonschema_rs.validate(schema, document)


def test_what_lies_there_is_shown_and_showing_changes_nothing(site: Site) -> None:
    assert site.run().stdout.startswith("Nothing is in the cache.")
    assert not site.cache.exists()
    assert site.push("one").code == 0
    before = sorted(site.cache.rglob("*"))
    table = site.run("show").stdout
    assert f"{site.source.name} for {site.hub}/one (jobs/" in table
    assert table.rstrip().endswith("are free there.")
    shown = json.loads(site.run("show", "--output-format", "json").stdout)
    check_schema(shown)
    assert {entry["kind"] for entry in shown["entries"]} >= {"jobs", "downloads", "documents"}
    assert sorted(site.cache.rglob("*")) == before
    assert list((site.cache / "runs").iterdir()) == [], "a run that has ended is not at work"


def test_pruning_takes_what_is_old_and_the_next_push_does_it_again(site: Site) -> None:
    first = site.push("one")
    site.age(31)
    told = site.run("prune", "--keep", "30d", "--dry-run")
    assert "would be freed" in told.stdout
    assert site.names("jobs")
    pruned = site.run("prune", "--keep", "30d", "--output-format", "json")
    document = json.loads(pruned.stdout)
    check_schema(document)
    assert document["freed"] > 0
    assert site.names("jobs") == site.names("artifacts") == set()
    again = site.push("one", "--rebuild")
    assert (again.code, again.stdout) == (0, first.stdout), again.stderr


def test_a_prune_beside_a_push_takes_nothing_of_it(site: Site) -> None:
    assert site.push("old").code == 0
    old_job = site.names("jobs")
    layers = site.names("artifacts")
    site.age(31)
    site.door.reached.clear()
    site.door.open.clear()
    words = command("push", *site.words("new"))
    with subprocess.Popen(words, env=environment(site.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as pushing:
        assert site.door.reached.wait(60)
        pruned = site.run("prune", "--max-size", "0")
        [new_job] = site.names("jobs")
        assert site.names("artifacts") >= layers, "fetched a month ago, and used by the push"
        site.door.open.set()
        _, told = pushing.communicate(timeout=120)
    assert pushing.returncode == 0, told
    assert pruned.code == 0, pruned.stderr
    assert {new_job}.isdisjoint(old_job)
    assert "may be in use, and stays" in pruned.stdout


def test_pushes_go_well_however_often_somebody_prunes(site: Site) -> None:
    done = threading.Event()
    pruned: list[Ended] = []

    def prune() -> None:
        while not done.is_set():
            pruned.append(site.run("prune", "--max-size", "0"))

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        pushed = []
        for hub in ("one", "two", "one"):
            pushed.append(site.push(hub, "--rebuild"))
            site.age(31)
    finally:
        done.set()
        thread.join(60)
    assert [ended.code for ended in (*pushed, *pruned)] == [0] * (3 + len(pruned)), [ended.stderr for ended in pushed]


def test_limits_of_the_project_file_hold_after_a_push_and_say_nothing(site: Site) -> None:
    assert site.push("old").code == 0
    site.age(31)
    project = site.work / "limits.yaml"
    project.write_text("cache_keep: 30d\ncache_max_size: 20GB\n")
    ended = site.push("new", "--file", str(project))
    assert ended.code == 0, ended.stderr
    assert len(site.names("jobs")) == 1
    assert "cache" not in ended.stderr
    document = json.loads(site.run("prune", "--file", str(project), "--output-format", "json").stdout)
    assert document["removed"] == []


def test_a_prune_without_limits_and_malformed_ones_are_told(site: Site) -> None:
    assert "--keep 30d --max-size 20GB" in site.run("prune").stderr
    ended = site.run("prune", "--keep", "soon")
    assert (ended.code, "--keep 'soon' is no length of time" in ended.stderr) == (2, True)
