"""Old tags of a hub at a real registry, as users let them go."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.oci.reference import TRIAL_TAGS
from tests.real.registry import MAKERS, registry_program, running_registry
from tests.real.site import Site, tags_named

NIGHTS = ("night-1", "night-2", "night-3")


def nights(*wanted: str) -> Mapping[str, tuple[str, ...]]:
    """The tags of these nights by image, and those that are no night's."""
    found: dict[str, tuple[str, ...]] = {}
    for night in ("v1", *wanted):
        for image, tags in tags_named("v1", night).items():
            found[image] = (*found.get(image, ()), *tags)
    return found


@pytest.mark.parametrize("name", MAKERS)
def test_old_nights_go_and_all_else_is_as_it_was(tmp_path: Path, name: str) -> None:
    program = registry_program(f"tests/process/test_retain.py[{name}]", name)
    with running_registry(program, tmp_path, maker=name) as host:
        site = Site(host, tmp_path)
        # All but the last are the same to the digest, and so is a tag that no pattern names.
        for content, tag in zip(("one", "one", "two"), NIGHTS, strict=True):
            assert site.push(content, "--tag", tag).code == 0
        assert site.push("one").code == 0
        (tmp_path / "istio-build.yaml").write_text(
            f"hub: {site.hub}\nretain_tags: ['night-*']\nretain: 1\ntag: ['{{{{ release }}}}-{{{{ date }}}}']\n"
        )
        before = site.tags(names=nights(*NIGHTS))
        shown = site.run("retain")
        assert shown.code == 0, shown.stderr
        assert "10 tags would go, 5 would stay; 5 other tags that no pattern names." in shown.stdout
        assert site.tags(names=nights(*NIGHTS)) == before

        done = site.run("retain", "--yes", "--output-format", "json")
        after = site.tags(names=nights(*NIGHTS))
        if not MAKERS[name].deletes_tags:
            assert done.code == 13
            assert "cannot delete tags" in done.stderr
            assert (done.stdout, after) == ("", before)
            return
        assert done.code == 0, done.stderr
        states = [tag["state"] for tag in json.loads(done.stdout)["tags"]]
        assert (states.count("gone"), states.count("stays")) == (10, 5)
        assert (
            after == site.tags(names=nights("night-3")) == {tag: at for tag, at in before.items() if not tag_of(tag, NIGHTS[:2])}
        )
        assert site.tags(names=dict.fromkeys(("pilot", "proxyv2"), TRIAL_TAGS)) == {}
        assert site.run("verify", *(f"{site.hub}/{tag}" for tag in after), "--compare-with", "none").code == 0
        again = site.run("retain", "--yes")
        assert "0 tags gone, 5 left" in again.stdout, again.stderr


def tag_of(tag: str, names: tuple[str, ...]) -> bool:
    """Whether a tag is of one of these nights."""
    return tag.rpartition(":")[2].startswith(names)
