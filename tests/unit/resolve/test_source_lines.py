"""Where in a source tree its facts stand."""

from pathlib import Path

import pytest

from builder.resolve.source import read_source
from builder.resolve.source_lines import find_source_lines
from tests.samples.explained import write_tree
from tests.samples.plans import make_state


def test_facts_have_the_lines_that_they_stand_on(tmp_path: Path) -> None:
    found = {line.name: (line.file, line.line) for line in find_source_lines(write_tree(tmp_path / "tree", "1.29.0"))}
    assert found == {
        "base_version": ("Makefile.core.mk", 2),
        "go": ("go.mod", 3),
        "version": ("VERSION", 1),
        "dependencies.PROXY_REPO_SHA": ("istio.deps", 7),
        "dependencies.ZTUNNEL_REPO_SHA": ("istio.deps", 10),
        "dependencies.AGENTGATEWAY_IMAGE": ("istio.deps", 13),
    }


def test_older_trees_have_their_version_in_the_makefile_and_digests_in_dockerfiles(tmp_path: Path) -> None:
    found = {line.name: (line.file, line.line) for line in find_source_lines(write_tree(tmp_path / "tree", "1.14.0"))}
    assert found["version"] == ("Makefile.core.mk", 2)
    assert found["base_version"] == ("Makefile.core.mk", 3)
    assert found["pins.proxyv2"] == ("pilot/docker/Dockerfile.proxyv2", 2)
    assert found["pins.install-cni"] == ("cni/deployments/kubernetes/Dockerfile.install-cni", 2)


@pytest.mark.parametrize("release", ["1.14.0", "1.20.0", "1.29.0"])
def test_each_line_holds_what_is_read_from_it(tmp_path: Path, release: str) -> None:
    tree = write_tree(tmp_path / "tree", release)
    facts = read_source(tree, lambda _: make_state())
    values = {"base_version": facts.base_version, "go": facts.go_directive, "version": facts.version}
    values |= {f"dependencies.{name}": sha for name, sha in facts.dependencies}
    values |= {f"pins.{name}": digest for name, digest in facts.pins}
    found = {line.name: (tree / line.file).read_text().splitlines()[line.line - 1] for line in find_source_lines(tree)}
    assert found.keys() == values.keys()
    assert [name for name, value in values.items() if value not in found[name]] == []
