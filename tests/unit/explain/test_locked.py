"""What a lock binds of an image, with its line: bases and Go, where they are what is asked for."""

from dataclasses import replace
from pathlib import Path

from builder.config.merged import Given
from builder.explain.fact import ExplainedImage
from builder.pipeline.explain import bound_by
from builder.resolve.lock_record import read_lock
from tests.samples.explained import explain, fact, places, sample_evidence, sample_job, section, write_tree

DIGEST = "sha256:" + "1" * 64
LOCK = f"""\
version: 1
istio_build: 0.1.0
recipes: {DIGEST}
source:
  version: '1.29'
  description: 1.29.0
  commit: {"c" * 40}
  tree: {"d" * 40}
  committed_at: 1
go:
  asked: 'release: go.mod says 1.25.0'
  version: 1.25.0
bases:
  base:
    asked: docker.io/istio/base:1.29-2026-02-04
    digest: {DIGEST}
    platforms: {{}}
  iptables:
    asked: docker.io/istio/iptables:of-another-day
    digest: {DIGEST}
    platforms: {{}}
"""


def proxyv2(tmp_path: Path, given: dict[str, Given]) -> ExplainedImage:
    (tmp_path / "istio-build.lock").write_text(LOCK)
    tree = write_tree(tmp_path / "tree", "1.29.0")
    evidence = sample_evidence(tree, sample_job(tree, given))
    lock = read_lock(tmp_path / "istio-build.lock", strict=True)
    return explain(replace(evidence, bound=bound_by(lock, evidence)), "proxyv2")["proxyv2"]


def test_what_is_bound_has_the_line_of_the_lock(tmp_path: Path) -> None:
    image = proxyv2(tmp_path, {})
    bound = fact(fact(section(image, "bases"), "debug").parts, "bound to")
    assert (bound.value, places(bound), bound.origins[0].kind) == (DIGEST, ["istio-build.lock:16"], "lock")
    go = fact(section(image, "compiling"), "Go")
    assert (go.value, places(go)) == ("1.25.0", ["istio-build.lock:12"])


def test_what_was_bound_for_something_else_is_not_told(tmp_path: Path) -> None:
    image = proxyv2(tmp_path, {"go": Given(words=("1.26.1",), origin="--go")})
    assert [part.name for part in fact(section(image, "bases"), "distroless").parts] == ["base", "base_registry", "base_version"]
    assert places(fact(section(image, "compiling"), "Go")) == ["--go"]
