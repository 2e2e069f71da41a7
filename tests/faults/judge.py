"""Looks at all that happens in a schedule, and says what must not have happened.

It knows nothing of how pushes do their work: it reads the hub itself, and holds runs to what they say.
"""

from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import BuilderError
from builder.oci.reference import Digest, ImageReference
from builder.publish.hub_record import read_record, record_reference
from builder.publish.publication import Release
from tests.faults.ground import FOREIGN, HUB, IMAGES, NEW_TAG, OLD_TAG, all_references, ground
from tests.faults.line import Course
from tests.faults.script import Run, Script
from tests.faults.world import LATENCY, TagEffect, World
from tests.unit.publish.test_publication import PLATFORMS

SOMEBODY = "somebody"
# How long another run is waited for, and what the wait for a lease, a lock and the last look may add (builder/publish/lease.py).
_PATIENCE = 180.0 + 70.0
# Calls of a push that waits for nobody, and more; and of each second of waiting: looks at two records, up to twice.
_MOST_CALLS, _CALLS_A_SECOND = 150, 8
# With these words a run says that all of its tags had moved.
_ALL_MOVED = ("were at this release", "was at this release", "all tags have moved", "all tags had moved")


class Broken(AssertionError):
    """Something that was promised does not hold."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: with a report (`moved` tags), an error, or not at all, where the machine is gone."""

    name: str
    run: Run
    course: Course
    began: float
    at: float
    moved: int | None
    error: Exception | None
    messages: tuple[str, ...]

    def __str__(self) -> str:
        how = f"moved {self.moved}" if self.error is None and self.moved is not None else repr(self.error or "killed")
        return f"{self.name} ({self.run.release}): {self.began:.3f} to {self.at:.3f}, {len(self.course.calls)} calls: {how}"


@dataclass
class Judge:
    """Collects what is wrong; `check` raises it. What happens within a run must not be disturbed by being looked at."""

    script: Script
    world: World
    endings: list[Ended] = field(default_factory=list)
    windows: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _wanted: dict[str, dict[ImageReference, Digest]] = field(default_factory=dict)
    _courses: dict[str, Course] = field(default_factory=dict)
    _runs: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._first = {tag: _digest_at(self.world, tag) for tag in all_references((OLD_TAG,))}

    def check(self) -> None:
        """Raises Broken with what has been found so far."""
        if self.problems:
            raise Broken("\n".join(dict.fromkeys(self.problems)))

    def expect(self, name: str, run: Run, course: Course, release: Release) -> None:
        """A run begins, which wants this."""
        self._runs[name], self._courses[name] = run, course
        self._wanted[name] = {ref: entry.index.digest for entry in release.publications for ref in entry.references}

    # What holds at every moment.

    def watch(self, effect: TagEffect) -> None:
        """A tag has become another."""
        self._look_as_a_puller(effect)
        if effect.by != SOMEBODY and effect.before != effect.after:
            self._look_whose_it_was(effect)
            self._look_at_its_number(effect)

    def _look_at_its_number(self, effect: TagEffect) -> None:
        """What has a number stays what it is, for who has looked at it."""
        if self._runs[effect.by].counted and effect.after == self._wanted[effect.by].get(effect.tag):
            found = effect.seen.found if effect.seen else None
            if found not in (None, effect.after):
                self._say(f"{effect.by} has taken the number of {effect.tag}, which was {self._name(found)}")

    def _look_as_a_puller(self, effect: TagEffect) -> None:
        if effect.after is None:
            gone = any(one.tag == effect.tag and one.after is None for one in self.world.effects if one is not effect)
            if effect.by != SOMEBODY and effect.tag in self._first and not gone:
                self._say(f"{effect.tag} was there before, and {effect.by} has removed it")
            return
        hub, repository = self.world.hub, effect.tag.repository
        index = hub.manifests[repository][effect.tag.tag]
        platforms = set(index.platforms())
        if missing := set(PLATFORMS) - platforms:
            self._say(f"{effect.tag} lacks {missing}")
        for child in index.children():
            manifest = hub.manifests[repository].get(str(child.digest))
            if manifest is None:
                self._say(f"{effect.tag} names a manifest that is not there, for {child.platform}")
                continue
            for blob in (manifest.config(), *manifest.layers()):
                if Digest.of(hub.blobs[repository].get(blob.digest, b"")) != blob.digest:
                    self._say(f"{effect.tag} names a blob that is not there, for {child.platform}")

    def _look_whose_it_was(self, effect: TagEffect) -> None:
        """Nobody's tag is overwritten, but by who could not know of it: in the moment from its look to its request."""
        seen = effect.seen
        if seen is None:
            self._say(f"{effect.by} has changed {effect.tag} without a look at it")
            return
        between = [one for one in self.world.effects if one.tag == effect.tag and seen.order < one.order < effect.order]
        others = [one for one in between if one.by != effect.by]
        request = effect.request
        assert request
        if others:
            if not request.disturbed:
                self.windows.append(effect.at - seen.at)
            if seen.call != request.call - 1:
                calls = self._courses[effect.by].calls[seen.call + 1 : request.call]
                self._say(f"{effect.by} has overwritten {effect.tag} of {others[-1].by}, and had looked at it before {calls}")
        if effect.after is not None and effect.after == self._wanted[effect.by].get(effect.tag):
            self._look_at_a_move(effect, seen.found)
        else:
            self._look_at_a_return(effect, seen.found)

    def _look_at_a_move(self, effect: TagEffect, found: Digest | None) -> None:
        course = self._courses[effect.by]
        if course.asked_for_lease is None:
            self._say(f"{effect.by} has moved {effect.tag} without asking for a lease")
            return
        looks = {look.found for look in course.looks[effect.tag] if look.call < course.asked_for_lease}
        own = {one.after for one in self._effects_of(effect.by) if one.tag == effect.tag and one.order < effect.order}
        if found not in looks | own:
            self._say(
                f"{effect.by} has moved {effect.tag} from {self._name(found)}, which was not there when it noted where tags are"
            )

    def _look_at_a_return(self, effect: TagEffect, found: Digest | None) -> None:
        if self._name(found) in (FOREIGN, "nothing"):
            self._say(f"{effect.by} has put {effect.tag} back from {self._name(found)}, which no run had put there")
        before = [one for one in self.world.effects if one.tag == effect.tag and one.order < effect.order]
        whose = next((one.by for one in reversed(before) if one.after == found), "")
        finished = {ended.name for ended in self.endings if ended.moved is not None}
        if whose in finished and not any(one.by == effect.by for one in before):
            self._say(f"{effect.by} has put {effect.tag} back from what {whose} had finished")

    # What runs say.

    def end(self, ended: Ended) -> None:
        """A run has ended: what it says has to be true."""
        self.endings.append(ended)
        self._look_at_patience(ended)
        if ended.error is not None and not isinstance(ended.error, BuilderError):
            self._say(f"{ended.name} ended with {ended.error!r}")
        elif ended.error is not None:
            self._look_at_words(ended, ended.error.message)
        elif ended.moved is not None:
            own = [effect.at for effect in self._effects_of(ended.name) if effect.before != effect.after]
            self._look_that_all_were_there(ended, "says that its release is at the hub", since=max(own, default=ended.began))

    def _look_at_patience(self, ended: Ended) -> None:
        seconds, course = ended.at - ended.began, ended.course
        travel = 2 * (LATENCY + self.script.spread) * len(course.calls)
        # Who was slow in writing a record waits as long as a lease lasts; and others of its machine wait for it.
        slow = [fault.seconds + 70.0 for run in self.script.runs if run.machine == ended.run.machine for fault in run.faults]
        if seconds > _PATIENCE + sum(slow) + 7 * travel:
            self._say(f"{ended.name} took {seconds:.0f} seconds")
        if len(course.calls) > _MOST_CALLS + _CALLS_A_SECOND * seconds:
            self._say(f"{ended.name} made {len(course.calls)} calls in {seconds:.0f} seconds")

    def _look_at_words(self, ended: Ended, text: str) -> None:
        own = [effect for effect in self._effects_of(ended.name) if effect.before != effect.after]
        wanted = self._wanted[ended.name]
        if "no tag has moved" in text:
            for effect in own:
                self._say(f"{ended.name} has moved {effect.tag}, and says that no tag has: {text!r}")
        if any(words in text for words in _ALL_MOVED):
            self._look_that_all_were_there(ended, f"says {text!r}", since=ended.began)
            return
        stuck = text.partition("not every tag could be put back:")[2]
        for tag in {effect.tag for effect in own}:
            if tag not in wanted or f" {tag} " in stuck or f" {tag}:" in stuck:
                continue
            last = [effect for effect in self.world.effects if effect.tag == tag][-1]
            if last.by == ended.name and last.after == wanted[tag] and not self._was_there(ended, tag):
                self._say(f"{ended.name} has left {tag} at its release, and says {text!r}")
            if last.by == ended.name and last.after not in self._earlier(tag, ended.name):
                self._say(f"{ended.name} has left {tag} where it never was before, and says {text!r}")

    def _earlier(self, tag: ImageReference, name: str) -> set[Digest | None]:
        """All that a tag was before this run first touched it."""
        found = {self._first.get(tag)}
        for effect in self.world.effects:
            if effect.tag == tag:
                if effect.by == name:
                    break
                found.add(effect.after)
        return found

    def _was_there(self, ended: Ended, tag: ImageReference) -> bool:
        """Whether the tag was at this release already when the run began."""
        return self._at_some_time(tag, self._wanted[ended.name][tag], ended.began, ended.began)

    def _look_that_all_were_there(self, ended: Ended, says: str, *, since: float) -> None:
        for tag, digest in self._wanted[ended.name].items():
            if not self._at_some_time(tag, digest, since, ended.at):
                self._say(f"{ended.name} {says}, but {tag} was not since {since:.3f}")

    def _at_some_time(self, tag: ImageReference, digest: Digest, since: float, until: float) -> bool:
        now = self._first.get(tag)
        for effect in self.world.effects:
            if effect.tag != tag:
                continue
            if effect.at > until:
                break
            if effect.at > since and now == digest:
                return True
            now = effect.after
        return now == digest

    # What holds when all is over.

    def look_at_the_end(self) -> None:
        """All runs have ended, and nothing is on its way any more."""
        for ended in self.endings:
            if ended.error is None or "no tag has moved" not in str(ended.error):
                continue
            late = [effect for effect in self._effects_of(ended.name) if effect.before != effect.after and effect.at > ended.at]
            if late:
                self._say(f"{ended.name} said that no tag has moved, and later {late[0].tag} did")
        self.check()

    def look_when_settled(self) -> None:
        """Another push has ended well: each release is whole, or not there."""
        for name in (OLD_TAG, NEW_TAG):
            if not self._was_touched(name) and not self._was_overtaken(name):
                self._look_at_group(name)
        self.check()

    def _was_touched(self, name: str) -> bool:
        """Whether somebody has moved such a tag, or another one of a run that had it: then all of that run's are left. Or has
        removed a record, and with it what it said of a run that was cut off."""
        acts = {act.tag for act in self.script.acts}
        if any(act.what == "sweep" for act in self.script.acts):
            return True
        return name in acts or any(name in run.tags and acts & set(run.tags) for run in self.script.runs)

    def _was_overtaken(self, name: str) -> bool:
        """Whether a request for such a tag was on its way for so long that another run has moved tags, or settled them,
        meanwhile: docs/publishing.md, "What remains"."""
        for effect in self.world.effects:
            if effect.tag.tag == name and effect.request:
                sent, at = effect.request.sent, effect.at
                if at - sent <= LATENCY + self.script.spread:
                    continue
                ended = [one for one in self.endings if one.name != effect.by and sent < one.at < at]
                moved = [one for one in self.world.effects if one.by not in (effect.by, SOMEBODY) and sent < one.at < at]
                if ended or moved:
                    return True
        return False

    def _look_at_group(self, name: str) -> None:
        tags = all_references((name,))
        found = {tag: self._name(_digest_at(self.world, tag)) for tag in tags}
        if not self.script.deletes:
            # What is new stays where it cannot be removed, and is told.
            found = {tag: what for tag, what in found.items() if what != "nothing"}
        if len(set(found.values())) > 1:
            self._say("a mixture stays at the hub: " + ", ".join(f"{tag} is {what}" for tag, what in found.items()))

    def look_for_leftovers(self, machines: Path) -> None:
        """Nothing keeps others waiting, and nothing is left that would grow."""
        for image in IMAGES:
            reference = record_reference(HUB.repository(image))
            manifest = self.world.hub.record(reference.repository)
            if manifest is not None and (self.script.deletes or not read_record(reference, manifest).is_idle):
                self._say(f"{reference} is left: {read_record(reference, manifest)}")
        for path in machines.rglob("*"):
            if path.is_file() and path.suffix != ".lock":
                self._say(f"{path.relative_to(machines)} is left")
        self.check()

    def look_at_the_last(self, release: str, tag: str) -> None:
        """A push to which nothing happened has its tags."""
        for image in IMAGES:
            if _digest_at(self.world, HUB.repository(image).at(tag)) != ground().indexes[release, image].digest:
                self._say(f"{image}:{tag} is not at {release}")
        self.check()

    def _effects_of(self, name: str) -> list[TagEffect]:
        return [effect for effect in self.world.effects if effect.by == name]

    def _name(self, digest: Digest | None) -> str:
        return ground().names.get(digest, str(digest)) if digest else "nothing"

    def _say(self, problem: str) -> None:
        self.problems.append(problem)


def _digest_at(world: World, tag: ImageReference) -> Digest | None:
    manifest = world.tag(tag)
    return manifest.digest if manifest else None
