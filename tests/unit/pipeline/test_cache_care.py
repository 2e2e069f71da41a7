"""What a push does for the cache: a word before, where there is little room, and limits kept after; neither fails it."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from builder.cache.workspace import Workspace
from builder.config.request import CacheLimits
from builder.errors import Interrupted
from builder.pipeline.cache_care import BYTES_A_PLATFORM, keep_limits, warn_of_little_room
from builder.pipeline.wiring import Adapters
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Event, Message
from tests.samples.doctor import make_case
from tests.samples.plans import make_sample_plan


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def adapters(tmp_path: Path, told: list[str]) -> Adapters:
    def observe(event: Event) -> None:
        if isinstance(event, Message):
            told.append(event.text)

    return Adapters({"ISTIO_BUILD_CACHE": str(tmp_path / "cache")}, Cancellation(), observe)


class TestLittleRoom:
    def test_is_told_before_a_first_build(self, adapters: Adapters, told: list[str], tmp_path: Path) -> None:
        warn_of_little_room(tmp_path, make_sample_plan(), adapters, free=lambda path: 2 * BYTES_A_PLATFORM - 1)
        [warning] = told
        assert "MB free, and a release takes some 2.6 GB of the cache: `istio-build cache prune" in warning

    def test_enough_is_not(self, adapters: Adapters, told: list[str], tmp_path: Path) -> None:
        warn_of_little_room(tmp_path, make_sample_plan(), adapters, free=lambda path: 2 * BYTES_A_PLATFORM)
        assert told == []

    def test_nor_is_a_job_that_has_its_files_already(self, adapters: Adapters, told: list[str], tmp_path: Path) -> None:
        plan = make_sample_plan()
        with adapters.workspace.job(tmp_path, plan.hub, lambda: None, time.sleep):
            pass
        warn_of_little_room(tmp_path, plan, adapters, free=lambda path: 0)
        assert told == []


class TestLimits:
    def old_blob(self, tmp_path: Path) -> Path:
        blob = Workspace(tmp_path / "cache").downloads / "aa"
        blob.parent.mkdir(parents=True)
        blob.write_bytes(b"x" * 10_000)
        os.utime(blob, (1, 1))
        return blob

    def test_are_kept_without_a_word(self, adapters: Adapters, told: list[str], tmp_path: Path) -> None:
        blob, job = self.old_blob(tmp_path), make_case(tmp_path).job
        keep_limits(job, adapters)
        assert blob.exists()
        keep_limits(replace(job, cache=CacheLimits(keep=86400.0)), adapters)
        assert (blob.exists(), told) == (False, [])

    @pytest.mark.parametrize("error", [Interrupted("interrupted"), OSError(13, "Permission denied")])
    def test_whatever_goes_wrong_the_push_went_well(
        self, adapters: Adapters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        self.old_blob(tmp_path)

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("builder.cache.prune.prune", fail)
        keep_limits(replace(make_case(tmp_path).job, cache=CacheLimits(max_size=0)), adapters)
