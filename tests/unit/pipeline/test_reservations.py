"""Leases that are begun while the last images are still being made."""

from pathlib import Path

from builder.oci.reference import RECORD_TAG
from tests.unit.pipeline.test_guards import PILOT, Site

RECORD = f"{PILOT}:{RECORD_TAG}"


def writes(site: Site) -> list[tuple[str, str]]:
    """What was written of manifests, in order."""
    return [call for call in site.registry.log if call[0] in ("put_manifest", "put_tag", "delete_tag")]


def test_a_lease_is_begun_before_the_last_of_it_is_sent_and_given_back_at_the_end(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.push()
    calls = writes(site)
    first_record = calls.index(("put_tag", RECORD))
    index = calls.index(("put_manifest", str(PILOT.at(next(iter(site.tags().values()))))))
    assert first_record < index
    assert ("delete_tag", RECORD) in calls
    assert site.registry.record(PILOT) is None


def test_a_push_that_changes_nothing_reserves_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.push()
    site.registry.log.clear()
    site.push()
    assert writes(site) == []


def test_what_is_built_anew_and_comes_out_the_same_leaves_no_record(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.push()
    before = site.tags()
    site.push(rebuild=True)
    assert (site.tags(), site.registry.record(PILOT)) == (before, None)
    # It was reserved for nothing: that its digest is the hub's is known when it is made.
    assert site.registry.operations("delete_tag") == [RECORD, RECORD]
