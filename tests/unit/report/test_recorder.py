"""What is kept of a run while it goes on."""

import threading
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest

from builder.plan.model import Plan
from builder.publish.reasons import Kind, Reason
from builder.report.lanes import lanes_of
from builder.report.record import RecordedMessage, ReleaseRecord, inputs_of
from builder.report.recorder import Recorder
from builder.runtime.progress import Event, Progress
from tests.samples.plans import make_sample_plan
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HUB, INPUTS, NIGHT_RUN, REPORT, TASKS, make_image, make_task


class Clock:
    """A clock that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class TestRecorder:
    def start(self) -> tuple[Clock, Recorder, Progress, list[Event]]:
        clock, shown = Clock(), list[Event]()
        recorder = Recorder(clock)
        return clock, recorder, Progress(recorder.over(lambda event: shown.append(event))), shown

    def test_tasks_have_the_times_at_which_they_began_and_ended(self) -> None:
        clock, recorder, progress, _ = self.start()
        clock.now = 102
        with progress.task("fetch", "envoy linux/arm64") as task:
            task.advance(3, 4)
            clock.now = 107.5
            task.outcome = "fetched"
        assert recorder.tasks() == (make_task("fetch", "envoy linux/arm64", 2, 7.5, "fetched"),)

    def test_what_failed_and_what_was_cut_off_are_told_apart(self) -> None:
        clock, recorder, progress, _ = self.start()
        with suppress(RuntimeError), progress.task("compile", "a"):
            clock.now = 101
            raise RuntimeError
        with progress.task("push", "b"):
            clock.now = 104
            assert recorder.tasks() == (
                make_task("compile", "a", 0, 1, state="failed"),
                make_task("push", "b", 1, 4, state="cut off"),
            )

    def test_messages_say_when_and_whether_something_was_tried_again(self) -> None:
        clock, recorder, progress, _ = self.start()
        progress.note("a")
        clock.now = 101
        progress.warn("b")
        progress.note_retry("c")
        assert recorder.messages() == (
            RecordedMessage(level="note", text="a", at=0),
            RecordedMessage(level="warning", text="b", at=1),
            RecordedMessage(level="note", text="c", at=1, retry=True),
        )

    def test_whoever_shows_the_run_is_told_all_the_same(self) -> None:
        _, _, progress, shown = self.start()
        with progress.task("push", "pilot") as task:
            task.advance(1)
        progress.note("a")
        assert [type(event).__name__ for event in shown] == ["TaskStarted", "TaskAdvanced", "TaskFinished", "Message"]

    def test_nothing_of_many_threads_is_lost(self) -> None:
        _, recorder, progress, _ = self.start()

        def work() -> None:
            for _ in range(50):
                with progress.task("push", "pilot"):
                    progress.note_retry("x")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(recorder.tasks()), len(recorder.messages())) == (400, 400)


class TestLanes:
    def test_tasks_of_a_stage_and_platform_that_overlap_have_rows_of_their_own(self) -> None:
        tasks = (make_task("push", "a linux/arm64", 0, 4), make_task("push", "b linux/arm64", 1, 2))
        (lane,) = lanes_of((*tasks, make_task("push", "c linux/arm64", 2, 3)))
        assert (lane.name, [[task.subject[0] for task in row] for row in lane.rows]) == ("push linux/arm64", [["a"], ["b", "c"]])

    def test_no_row_has_tasks_that_overlap_and_none_is_lost(self) -> None:
        lanes = lanes_of(TASKS)
        for lane in lanes:
            for row in lane.rows:
                assert all(before.ended <= after.began for before, after in pairwise(row))
        assert sorted(task.subject for lane in lanes for row in lane.rows for task in row) == sorted(t.subject for t in TASKS)

    def test_lanes_of_a_stage_stand_together_in_the_order_in_which_stages_began(self) -> None:
        names = [lane.name for lane in lanes_of(TASKS)]
        assert names == [
            "resolve",
            "look",
            "fetch linux/amd64",
            "fetch linux/arm64",
            "compile linux/amd64",
            "compile linux/arm64",
            "assemble linux/amd64",
            "assemble linux/arm64",
            "push linux/amd64",
            "push linux/arm64",
            "push",
            "verify",
            "tag",
        ]

    @pytest.mark.parametrize(
        ("subject", "platform"),
        [
            ("pilot linux/arm64", "linux/arm64"),
            ("linux/amd64", "linux/amd64"),
            ("127.0.0.1:5000/istio/pilot", ""),
            ("docker.io/me/linux/arm64", ""),
            ("envoy linux/arm64 again", ""),
            ("istioctl windows/amd64", "windows/amd64"),
        ],
    )
    def test_the_platform_of_a_task_is_what_its_subject_ends_with(self, subject: str, platform: str) -> None:
        assert make_task("push", subject, 0, 1).platform == platform


class TestRecord:
    def test_stages_count_what_overlaps_once(self) -> None:
        stages = dict(GOOD_RUN.stages)
        assert list(stages)[:3] == ["resolve", "look", "fetch"]
        assert stages["compile"] == pytest.approx(75.1)
        assert stages["verify"] == pytest.approx(1.9)

    def test_what_changed_is_told_by_tags_that_moved(self) -> None:
        assert GOOD_RUN.has_changed
        assert GOOD_RUN.summary == "3 built, 1 mirrored, 2 unchanged"
        assert REPORT.traffic
        still = replace(REPORT, traffic=replace(REPORT.traffic, tags_moved=0))
        assert not ReleaseRecord(version="1", hub="h", report=still).has_changed

    @pytest.mark.parametrize("kind", ["damaged", "platform-lost"])
    def test_what_a_hub_had_lost_is_a_change_though_no_tag_moves(self, kind: Kind) -> None:
        """Whoever looks in the morning has to know that a registry loses what it was given."""
        assert REPORT.traffic
        mended = replace(REPORT.images[0], reasons=(Reason(kind=kind, text="h lost linux/arm64"),))
        report = replace(REPORT, images=(mended,), traffic=replace(REPORT.traffic, tags_moved=0))
        assert ReleaseRecord(version="1", hub="h", report=report).has_changed

    def test_where_nothing_was_published_it_is_told_by_what_was_built(self) -> None:
        built = replace(REPORT, traffic=None)
        assert ReleaseRecord(version="1", hub="h", report=built).has_changed
        same = replace(built, images=(make_image("pilot-debug", "1", state="unchanged"),))
        assert not ReleaseRecord(version="1", hub="h", report=same).has_changed

    def test_a_tag_that_moved_to_what_was_there_is_told_in_the_line(self) -> None:
        moved = replace(REPORT, images=(make_image("pilot-debug", "1", state="unchanged"),))
        assert ReleaseRecord(version="1", hub="h", report=moved).summary == "1 unchanged, 9 tags moved"
        assert replace(GOOD_RUN, releases=()).summary == "nothing to do"

    def test_of_several_releases_each_is_told_by_its_name(self) -> None:
        assert [release.state for release in NIGHT_RUN.releases] == ["changed", "changed", "unchanged", "failed"]
        assert NIGHT_RUN.summary == "failed (28): 1 of 4 releases failed: 1.26.0"
        assert replace(NIGHT_RUN, error=None).summary == (
            "1.29.1: 1 built; 1.28.0: 2 unchanged, 1 tag moved; 1.26.0: failed (4); unchanged: 1.27.0"
        )
        cut_off = replace(NIGHT_RUN, releases=(NIGHT_RUN.releases[2], ReleaseRecord(version="1.25.0", hub="h")), error=None)
        assert cut_off.summary == "1.25.0: not done; unchanged: 1.27.0"

    def test_a_failed_run_says_so_in_a_line(self) -> None:
        assert FAILED_RUN.summary == "failed (7): 1 of 6 images could not be built"
        assert not FAILED_RUN.has_changed

    def test_an_image_is_held_beside_what_it_was(self) -> None:
        [istioctl, same, *_, mirror] = REPORT.images
        assert GOOD_RUN.change_of(istioctl) == GOOD_RUN.before[f"{HUB}/istioctl:1.29.0"]
        assert GOOD_RUN.change_of(same) == ""
        assert GOOD_RUN.change_of(mirror) == "new"
        # Where no run before is known, nothing is said.
        assert replace(GOOD_RUN, before={}).change_of(mirror) == ""

    def test_the_name_of_a_run_is_in_the_order_of_time(self) -> None:
        assert GOOD_RUN.name == "20260301T030007Z-1a2b3c4d"
        assert GOOD_RUN.name < FAILED_RUN.name

    def test_inputs_are_those_of_the_plan(self) -> None:
        plan: Plan = make_sample_plan()
        inputs = inputs_of(plan)
        assert inputs.commit == plan.commit
        assert dict(inputs.bases) == {image.base.name: str(image.base.reference) for image in plan.images if image.base}
        assert [(a.name, a.platform, a.sha256) for a in inputs.artifacts] == [
            (a.name, str(a.platform), a.sha256) for a in plan.artifacts
        ]
        assert INPUTS.go == "1.25.9"
