"""Counted tags night after night, at real registries: each new content gets the next number, and no number is ever another's."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from builder.oci.layout import Layout
from builder.oci.manifest import INDEX
from builder.oci.reference import RESERVED_TAGS, ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests.process.test_without_docker import BASE_TAG, RECIPE, TEMPLATE
from tests.real.program import Ended, command, environment, istio_build
from tests.real.registry import MAKERS, registry_program, running_registry
from tests.samples.images import AMD64, ARM64, SampleFile, add_image, make_config, make_tar, write_image_index
from tests.samples.seeding import seed
from tools.registry import serving

PROJECT = """\
hub: [{hubs}]
source: {source}
recipes: [recipes]
image: note
engine: builtin
base_registry: {host}/istio-base
tag: [{tags}]
immutable: ["*-r*"]
"""
FIRST = "'{{ release }}-r{{ n }}'"
TAG_R1 = ("--tag", "1.29.0-r1")
BESIDE = "'{{ release }}', '{{ release }}-r{{ n }}'"


@dataclass
class Site:
    """A directory with the project file, and the registry whose images it is about."""

    work: Path
    source: Path
    host: str

    def write(self, tags: str, *hubs: str) -> None:
        """The project file."""
        hubs = hubs or (f"{self.host}/istio",)
        text = PROJECT.format(hubs=", ".join(hubs), source=self.source, host=self.host, tags=tags)
        (self.work / "istio-build.yaml").write_text(text)

    def run(self, *words: str, machine: str = "one") -> Ended:
        """A run on this machine, which has a cache of its own."""
        return istio_build(*words, cwd=self.work, env=self.env(machine), timeout=120)

    def env(self, machine: str) -> dict[str, str]:
        """That of a machine."""
        return {"ISTIO_BUILD_CACHE": str(self.work / machine), "DOCKER_CONFIG": str(self.work)}

    def base(self, name: str, tag: str = BASE_TAG) -> None:
        """The base is built anew under its tag."""
        layout = Layout(self.work / f"base {name}")
        layer = make_tar([SampleFile(path="/etc/os-release", content=f"NAME={name}\n".encode(), mode=0o644)])
        images = {platform: add_image(layout, make_config(platform), [layer]) for platform in (AMD64, ARM64)}
        registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=lambda _: None))
        seed(registry, write_image_index(layout.root, images), ImageReference.parse(f"{self.host}/istio-base/base:{tag}"))

    def tags(self, hub: str = "istio") -> dict[str, str]:
        """As the registry has them, with no code of ours between; those of a variant are what the plain ones are."""
        listed = requests.get(f"http://{self.host}/v2/{hub}/note/tags/list", timeout=30)
        names = sorted(set(listed.json().get("tags") or []) - set(RESERVED_TAGS)) if listed.ok else []
        found = {name: self.manifest(name, hub).headers["Docker-Content-Digest"] for name in names}
        plain = {name: digest for name, digest in found.items() if not name.endswith("-debug")}
        assert {f"{name}-debug": digest for name, digest in plain.items()} | plain == found
        return plain

    def manifest(self, key: str, hub: str = "istio") -> requests.Response:
        """What is there."""
        url = f"http://{self.host}/v2/{hub}/note/manifests/{key}"
        return requests.get(url, headers={"Accept": INDEX}, timeout=30)


@contextmanager
def site_at(host: str, work: Path, source: Path) -> Iterator[Site]:
    (work / "recipes").mkdir()
    (work / "recipes" / "note.yaml").write_text(RECIPE)
    (work / "recipes" / "note.Dockerfile.j2").write_text(TEMPLATE)
    site = Site(work, source, host)
    site.base("first")
    yield site


@pytest.fixture
def site(tmp_path: Path, source: Path) -> Iterator[Site]:
    with serving(tmp_path / "registry") as host, site_at(host, tmp_path, source) as site:
        yield site


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("tags", [FIRST, BESIDE], ids=["first", "beside"])
def test_one_night_after_the_other(tmp_path: Path, source: Path, name: str, tags: str) -> None:
    program = registry_program(f"tests/process/test_counted_tags.py[{name}]", name)
    with running_registry(program, tmp_path, maker=name) as host, site_at(host, tmp_path, source) as site:
        site.write(tags)
        first = site.run("nightly")
        assert first.code == 0, first.stderr
        assert first.stdout.startswith("1.29.0")
        r1 = site.tags()["1.29.0-r1"]
        for machine in ("one", "two"):
            quiet = site.run("nightly", "--quiet", machine=machine)
            assert (quiet.code, quiet.stdout, quiet.stderr) == (0, "", "")
        site.base("moved")
        second = site.run("nightly", "--metadata-file", "pushed.json")
        assert second.code == 0, second.stderr
        assert "why: base image base moved" in second.stderr
        assert f"{host}/istio/note:1.29.0-r2," in (tmp_path / "pushed.json").read_text().replace('"', ",")
        numbered = {tag: digest for tag, digest in site.tags().items() if "-r" in tag}
        assert numbered == {"1.29.0-r1": r1, "1.29.0-r2": numbered["1.29.0-r2"]}
        assert r1 != numbered["1.29.0-r2"]
        # With the project file, whose tag is for what will be pushed.
        told = [len(json.loads(site.run("history", *of, "--output-format", "json").stdout)["releases"]) for of in ((), TAG_R1)]
        assert told == [2, 1]


def test_what_was_lost_comes_back_under_its_number(site: Site) -> None:
    site.write(FIRST)
    assert site.run("nightly").code == 0
    site.base("moved")
    assert site.run("nightly").code == 0
    before = site.tags()
    children = site.manifest("1.29.0-r2").json()["manifests"]
    arm64 = next(child["digest"] for child in children if child["platform"]["architecture"] == "arm64")
    assert requests.delete(f"http://{site.host}/v2/istio/note/manifests/{arm64}", timeout=30).ok
    assert not site.manifest(arm64).ok
    mended = site.run("nightly", "--output-format", "json", machine="two")
    assert mended.code == 0, mended.stderr
    assert "lost" in mended.stderr or "missing" in mended.stderr
    assert site.manifest(arm64).ok
    assert site.tags() == before
    verified = site.run("verify", "--istio", "1.29.0", "--compare-with", "none")
    assert verified.code == 0, verified.stdout + verified.stderr
    assert "note:1.29.0-r2" in verified.stdout


def test_a_hub_that_is_added_gets_the_number_and_the_digest_that_the_first_has(site: Site) -> None:
    site.write(BESIDE)
    for base in ("first", "moved"):
        site.base(base)
        assert site.run("nightly").code == 0
    site.write(BESIDE, f"{site.host}/istio", f"{site.host}/second")
    added = site.run("nightly")
    assert added.code == 0, added.stderr
    assert site.tags("second") == {tag: digest for tag, digest in site.tags().items() if tag != "1.29.0-r1"}
    # One that nobody answers at keeps the other from nothing, and gets no number of its own.
    site.base("third")
    site.write(BESIDE, f"{site.host}/istio", "127.0.0.1:1/istio")
    failed = site.run("push")
    assert failed.code == 13, failed.stderr
    assert "1 of 2 hubs do not have this release:" in failed.stderr
    assert "127.0.0.1:1/istio: no tag has moved: cannot list the tags of" in failed.stderr
    assert "1.29.0-r3" in site.tags()


def test_two_machines_at_once_never_share_a_number(site: Site) -> None:
    site.write(FIRST)
    for tag in ("one", "two"):
        site.base(tag, tag)
    running = {
        machine: subprocess.Popen(
            command("push", "--base", f"base={site.host}/istio-base/base:{machine}"),
            cwd=site.work,
            env=environment(site.env(machine)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for machine in ("one", "two")
    }
    ended = {machine: (*process.communicate(timeout=120), process.returncode) for machine, process in running.items()}
    codes = sorted(code for _, _, code in ended.values())
    assert codes in ([0, 0], [0, 15]), ended
    before = site.tags()
    assert len(before) == codes.count(0)
    for machine, (_, stderr, code) in ended.items():
        if code:
            assert "un the same again" in stderr
        again = site.run("push", "--base", f"base={site.host}/istio-base/base:{machine}", machine=machine)
        assert again.code == 0, again.stderr
    after = site.tags()
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after) <= 4


def test_what_is_planned_and_what_cannot_be(site: Site) -> None:
    site.write(BESIDE)
    assert f"push   {site.host}/istio/note:1.29.0-r<n>" in site.run("plan").stdout
    assert site.run("nightly").code == 0
    site.base("moved")
    against = site.run("plan", "--against-hub")
    assert against.code == 0, against.stderr
    assert f"{site.host}/istio/note:1.29.0-r2  new → what is built" in against.stdout
    refused = site.run("build")
    assert refused.code == 2
    assert "the number of {{ release }}-r{{ n }} is found at the hub when it is pushed, and `build` asks none" in refused.stderr
    assert "push --from DIR --tag '1.29.0-r{{ n }}'" in refused.stderr
    site.write(FIRST)
    assert site.run("archives").code == 2
    merged = site.run("push", "--merge-platforms", "--platform", "linux/amd64")
    assert merged.code == 2
    assert "a counted tag never moves" in merged.stderr


def test_layouts_are_numbered_when_they_are_pushed(site: Site) -> None:
    site.write(BESIDE)
    for base, number in (("first", 1), ("first", 1), ("moved", 2)):
        site.base(base)
        built = site.run("build", "--tag", "1.29.0", "--output", f"images-{base}")
        assert built.code == 0, built.stderr
        pushed = site.run("push", "--from", f"images-{base}", "--tag", "1.29.0-r{{ n }}", "--output-format", "json")
        names = {reference.rpartition(":")[2] for image in pushed.report()["images"] for reference in image["references"]}
        assert names == {f"1.29.0-r{number}", f"1.29.0-r{number}-debug"}
    refused = site.run("push", "--from", "images-first", "--tag", "{{ release }}-r{{ n }}")
    assert refused.code == 2
    assert "the source of layouts is not known, so a --tag for them has no placeholders but {{ n }}" in refused.stderr
