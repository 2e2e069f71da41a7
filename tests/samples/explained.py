"""Images explained without a process or a registry: a small tree with all that `read_source` reads, and a job."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from builder.config.merged import Given
from builder.config.settings import Job, make_job
from builder.explain.evidence import Evidence
from builder.explain.fact import ExplainedImage, Fact, Origin
from builder.oci.reference import Hub
from builder.pipeline.explain import choose_images, explain_images, gather_evidence
from builder.plan.lock import ListedDirectory
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.recipe.yaml_file import YamlDocument
from builder.resolve.source import read_source
from tests.fakes.registry import FakeRegistry
from tests.samples.images import make_digest
from tests.samples.lookups import make_lookups
from tests.samples.plans import make_state

_DEPENDENCIES = """\
[
  {
    "_comment": "",
    "name": "PROXY_REPO_SHA",
    "repoName": "proxy",
    "file": "",
    "lastStableSHA": "fedcba9876543210fedcba9876543210fedcba98"
  },
  {
    "lastStableSHA": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "name": "ZTUNNEL_REPO_SHA"
  },
  { "name": "AGENTGATEWAY_IMAGE", "lastStableSHA": "0.11.0" }
]
"""
_PINNED = {"pilot/docker/Dockerfile.proxyv2": "proxy", "cni/deployments/kubernetes/Dockerfile.install-cni": "cni"}


def write_tree(directory: Path, release: str) -> Path:
    """What is read of Istio's tree at a release: up to 1.18 the version is in the Makefile, up to 1.22 digests in Dockerfiles."""
    istio = IstioRelease.parse(release)
    assert istio
    directory.mkdir(parents=True)
    in_makefile = f"export VERSION ?= {istio.line}-dev\n" if istio.minor < 19 else ""
    (directory / "Makefile.core.mk").write_text(f"# Istio's own.\n{in_makefile}BASE_VERSION ?= {istio.line}-2026-02-04\n")
    if not in_makefile:
        (directory / "VERSION").write_text(f"{istio.line}\n")
    (directory / "go.mod").write_text("module istio.io/istio\n\ngo 1.25.0\n")
    (directory / "istio.deps").write_text(_DEPENDENCIES)
    for path, name in _PINNED.items() if istio.minor < 23 else ():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# A Dockerfile.\nFROM gcr.io/istio-release/iptables@{make_digest(name)} AS distroless\n")
    return directory


def sample_job(
    tree: Path, given: Mapping[str, Given] | None = None, project: YamlDocument | None = None, hub: str = "hub.test/istio"
) -> Job:
    """A job for this tree, at a hub where nothing says another."""
    words = {"source": Given(words=(str(tree),), origin="--source"), **(given or {})}
    job = make_job(words, project, needs_hub=False)
    return replace(job, request=replace(job.request, hubs=job.request.hubs or (Hub.parse(hub),)))


def sample_evidence(tree: Path, job: Job, release: str = "1.29.0", extra: tuple[Path, ...] = ()) -> Evidence:
    """What is known of a job, with a git that has this release's tag at the commit."""
    source = read_source(tree, lambda _: make_state(tag=release, description=release))
    recipes = load_recipes(extra, build_bases=job.request.build_bases)
    listed = ListedDirectory(source="manifests", files=(("a.yaml", "0644"), ("b/run.sh", "0755")))
    lookups = replace(make_lookups(tree / "no-cache", FakeRegistry()), list_directory=lambda _: listed)
    return gather_evidence(job, tree, source, recipes, lookups)


def explain(evidence: Evidence, *names: str) -> dict[str, ExplainedImage]:
    """These images explained, by name."""
    chosen = choose_images(evidence.request, evidence.book, names)
    return {image.image: image for image in explain_images(evidence, chosen).images}


def section(image: ExplainedImage, name: str) -> tuple[Fact, ...]:
    """The facts of a section, none where it is not there."""
    return next((section.facts for section in image.sections if section.name == name), ())


def fact(facts: tuple[Fact, ...], name: str) -> Fact:
    """The one of this name."""
    [found] = [each for each in facts if each.name == name]
    return found


def all_facts(facts: tuple[Fact, ...]) -> Iterator[Fact]:
    """Each fact, and what it is made of."""
    for each in facts:
        yield each
        yield from all_facts(each.parts)


def all_of(image: ExplainedImage) -> Iterator[Fact]:
    """Every fact of an image."""
    return (each for section in image.sections for each in all_facts(section.facts))


def places(told: Fact) -> list[str]:
    """`file:line` of each origin that has one, else its key."""
    return [place(origin) for origin in told.origins]


def place(origin: Origin) -> str:
    """`file:line`, the file by its name alone; the key or the words of what is in no file."""
    return f"{Path(origin.path).name}:{origin.line}" if origin.path else origin.key or origin.text
