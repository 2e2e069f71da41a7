"""The phases that are timed: who takes a turn when, and what is done before it."""

import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tools.bench.contestants import Contestant, Ours
from tools.bench.docker_builder import DockerBuilder, place_downloads
from tools.bench.envoys import Envoys
from tools.bench.process import timed
from tools.bench.results import Phase, Round
from tools.bench.work import Figures, PushCheck, Site, Work, say

PHASES = ("changed", "unchanged", "relink", "package", "cold", "second", "memory")
# What `change` puts behind it; before the first change there is none.
_MARK = "\n// bench\n\n"
# Shifted and not multiplied: of that the compiler would make one operation, however many there are.
_STATEMENT = "benchValue = benchValue<<7 ^ benchValue>>9 ^ "
# How many of them there may be: some 25 bytes each, where the linker aligns functions to 32.
_STATEMENTS = (8, 400, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A run: who takes part, how often, and on what. `changed_file` is relative to a source tree."""

    site: Site
    contestants: tuple[Contestant, ...]
    envoys: Envoys
    work: Work
    changed_file: str
    changed_image: str = "pilot"
    rounds: int = 5
    cold_rounds: int = 5


Turn = Callable[[int], Figures]


def rotate(items: Sequence[str], by: int) -> tuple[str, ...]:
    """The items in turn, each round beginning with the next: what comes first finds another machine than what comes last."""
    start = by % len(items) if items else 0
    return (*items[start:], *items[:start])


def measure(name: str, turns: dict[str, Turn], rounds: int) -> Phase:
    """Everybody's turn in every round."""
    done = []
    for number in range(rounds):
        seconds: dict[str, float] = {}
        requests: dict[str, int] = {}
        order = rotate(tuple(turns), number)
        for who in order:
            figures = turns[who](number)
            seconds |= figures.seconds
            requests |= figures.requests
            shown = ", ".join(f"{figure} {value:.2f} s" for figure, value in figures.seconds.items())
            say([f"{name}, round {number + 1} of {rounds}:", shown])
        done.append(Round(order, seconds, requests))
    return Phase(name, tuple(done))


def turns_of(contestants: Sequence[Contestant], turn: Callable[[Contestant, int], Figures]) -> dict[str, Turn]:
    """The same turn for each of them."""
    return {contestant.name: partial(turn, contestant) for contestant in contestants}


def measure_changed(bench: Bench) -> Phase:
    """A change of its own for each contestant and round, so that none finds another's work in the build cache."""
    work = replace(bench.work, name="changed", images=(bench.changed_image,))
    contestants = _builders(bench)
    _warm_up(contestants, work)

    def turn(contestant: Contestant, _: int) -> Figures:
        change(contestant.tree / bench.changed_file)
        return contestant.take_turn(work, is_new=True)

    return measure("changed", turns_of(contestants, turn), bench.rounds)


def measure_unchanged(bench: Bench) -> Phase:
    """The same once more."""
    work = replace(bench.work, name="unchanged")
    _warm_up(bench.contestants, work)

    def turn(contestant: Contestant, _: int) -> Figures:
        return contestant.take_turn(work, is_new=False)

    return measure("unchanged", turns_of(bench.contestants, turn), bench.rounds)


def measure_relink(bench: Bench) -> Phase:
    """Another hub in each round, which is stamped into the programs; what is compiled stays, and so does what was made for the
    hub before the first."""
    contestants = _builders(bench)
    _warm_up(contestants, replace(bench.work, name="relink"))
    kept = _jobs(bench.site)

    def turn(contestant: Contestant, number: int) -> Figures:
        figures = contestant.take_turn(replace(bench.work, name=f"relink-{number}"), is_new=False)
        _throw_away(bench.site, kept)
        return figures

    return measure("relink", turns_of(contestants, turn), bench.rounds)


def measure_package(bench: Bench) -> Phase:
    """Programs that are linked, an Envoy that is there, images that nobody has seen, and a registry that has only bases."""
    work = replace(bench.work, name="package")
    contestants = _builders(bench)
    _warm_up(contestants, work)

    def turn(contestant: Contestant, _: int) -> Figures:
        bench.envoys.renew()
        if isinstance(contestant, DockerBuilder):
            place_downloads(contestant.tree, bench.envoys)
        change(contestant.tree / bench.changed_file)
        contestant.link(work)
        bench.site.registry.reset()
        return contestant.take_turn(work, is_new=True)

    return measure("package", turns_of(contestants, turn), bench.rounds)


def measure_cold(bench: Bench) -> Phase:
    """Each with an empty build cache of its own and a hub of its own; modules and downloads are there."""
    _fetch(bench)

    def turn(contestant: Contestant, number: int) -> Figures:
        cache = bench.site.scratch / "cold-go-cache"
        work = replace(bench.work, name=f"cold-{number}", go_cache=cache)
        figures = contestant.take_turn(work, is_new=False)
        shutil.rmtree(cache)
        _throw_away(bench.site)
        return figures

    return measure("cold", turns_of(_builders(bench), turn), bench.cold_rounds)


def measure_second(bench: Bench) -> Phase:
    """A change pushed for one platform, and a change pushed for both."""
    turns: dict[str, Turn] = {}
    for ours in bench.contestants:
        if not isinstance(ours, Ours):
            continue
        for name, platforms in (("amd64", ("linux/amd64",)), ("both", bench.work.platforms)):
            work = replace(bench.work, name=f"second-{name}", images=(bench.changed_image,), platforms=platforms)
            ours.push(work, ours.engine)
            turns[f"{ours.engine}, {name}"] = _second_turn(bench, ours, work, f"{ours.engine}, {name}")
    return measure("second", turns, bench.rounds)


def _second_turn(bench: Bench, ours: Ours, work: Work, name: str) -> Turn:
    checked = PushCheck()

    def turn(_: int) -> Figures:
        change(ours.tree / bench.changed_file)
        seconds = timed(lambda: ours.push(work, ours.engine))
        checked.check(name, ours.hub(work), work, is_new=True)
        return Figures(seconds={name: seconds})

    return turn


MEASURES: dict[str, Callable[[Bench], Phase]] = {
    "changed": measure_changed,
    "unchanged": measure_unchanged,
    "relink": measure_relink,
    "package": measure_package,
    "cold": measure_cold,
    "second": measure_second,
}


def change(file: Path) -> None:
    """A change as people make them: a function of another size than before, which is called.

    So all that is linked behind it moves, and whoever calls into that is changed, too. Another value of a variable would leave
    most of the program as it was, byte for byte.
    """
    kept, _, before = file.read_text(encoding="utf-8").partition(_MARK)
    sizes = set(range(*_STATEMENTS)) - {before.count(_STATEMENT)}
    statements = [f"{_STATEMENT}{secrets.randbits(63):#018x}" for _ in range(secrets.choice(sorted(sizes)))]
    function = "\n\t".join(["func benchChange() {", *statements])
    added = f"var benchValue uint64\n\nfunc init() {{ benchChange() }}\n\n//go:noinline\n{function}\n}}\n"
    file.write_text(f"{kept}{_MARK}{added}", encoding="utf-8")


def _builders(bench: Bench) -> tuple[Contestant, ...]:
    return tuple(contestant for contestant in bench.contestants if contestant.name != "imports")


def _warm_up(contestants: Sequence[Contestant], work: Work) -> None:
    """Let each do it once, uncounted."""
    for contestant in contestants:
        say([f"{work.name}: warming up {contestant.name}"])
        contestant.take_turn(work, is_new=False)


def _fetch(bench: Bench) -> None:
    """Have what is downloaded there: not what a cold build cache is about."""
    for contestant in bench.contestants:
        if isinstance(contestant, Ours):
            contestant.push(replace(bench.work, name="fetch", images=("proxyv2",)), "builtin")
            return


def _jobs(site: Site) -> frozenset[Path]:
    """What the cache has of hubs that were pushed to."""
    return frozenset((site.cache / "jobs").glob("*"))


def _throw_away(site: Site, kept: frozenset[Path] = frozenset()) -> None:
    """What a hub that is not used again leaves, so that the disk does not fill."""
    for folder in (*(_jobs(site) - kept), site.scratch / "by-hand"):
        shutil.rmtree(folder, ignore_errors=True)
    site.registry.reset()
