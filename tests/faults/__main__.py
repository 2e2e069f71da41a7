"""`make faults`: every call of a push with every fault, many schedules, the same over HTTP, and processes that are killed.

With `--replay FILE`, plays a script that such a search has printed, or one of `tests/faults/scripts/`.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path

from tests.faults import every_call, kill, wire
from tests.faults.ground import remove_directories
from tests.faults.judge import Broken
from tests.faults.play import play
from tests.faults.schedules import Tally, search
from tests.faults.script import Script

_PART = 250


@dataclass(frozen=True)
class _Found:
    """What a part of the work has come to, in another process: `broken` is what to print where something did not hold."""

    tally: Tally
    broken: str = ""


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words ask for; gives the status to exit with."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many schedules (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="what they are made from (default: another one each time)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once (default: %(default)s)")
    parser.add_argument("--replay", type=Path, nargs="+", help="play these scripts, and nothing else")
    parser.add_argument("--only", choices=("calls", "schedules", "wire", "kill"), help="one of the four parts")
    chosen = parser.parse_args(words)
    if chosen.replay:
        return _replay(chosen.replay)
    seed = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    parts: dict[str, Callable[[], int]] = {
        "calls": _try_every_call,
        "schedules": partial(_search, chosen.count, seed, chosen.jobs),
        "wire": _try_wire,
        "kill": partial(_kill, chosen.jobs),
    }
    if chosen.only:
        return parts[chosen.only]()
    # Each in a process of its own, as those that search are copies of theirs, and would share what another part has made.
    given = ["--count", str(chosen.count), "--seed", str(seed), "--jobs", str(chosen.jobs)]
    programs = ([sys.executable, "-m", "tests.faults", "--only", name, *given] for name in parts)
    return max(subprocess.run(program, check=False).returncode for program in programs)


def _replay(paths: Sequence[Path]) -> int:
    for path in paths:
        try:
            played = play(Script.from_json(path.read_text()))
        except Broken as broken:
            print(f"{path}: {broken}")
            return 1
        print(f"{path}: holds\n" + "\n".join(f"  {ended}" for ended in played.endings))
    return 0


def _try_every_call() -> int:
    began, tally = time.monotonic(), Tally()
    print("every call of a push, and of one that goes on with another's, with every fault", flush=True)
    for script in every_call.scripts():
        try:
            tally.add(play(script))
        except Broken as broken:
            print(f"\n{broken}")
            return 1
        _tell(f"  {tally.schedules}, {time.monotonic() - began:.0f} s")
    print(f"\n{tally}\n  {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _search(count: int, seed: int, jobs: int) -> int:
    began, tally = time.monotonic(), Tally()
    print(f"{count} schedules, --seed {seed}", flush=True)
    for found in _search_in_parts(count, seed, jobs):
        tally.merge(found.tally)
        _tell(f"  {tally.schedules} schedules, {sum(tally.injected.values())} faults, {time.monotonic() - began:.0f} s")
        if found.broken:
            print(f"\n{found.broken}\nwrite the script to a file, and play it by: make faults ARGS='--replay FILE'")
            return 1
    print(f"\n{tally}\n  {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _search_in_parts(count: int, seed: int, jobs: int) -> Iterator[_Found]:
    sizes = [min(_PART, count - begun) for begun in range(0, count, _PART)]
    seeds = [seed * 1_000 + number for number in range(len(sizes))]
    with ProcessPoolExecutor(max_workers=jobs, initializer=_leave_nothing) as pool:
        for found in pool.map(_search_part, sizes, seeds):
            yield found
            if found.broken:
                pool.shutdown(wait=False, cancel_futures=True)
                return


def _leave_nothing() -> None:
    """A process of a pool runs no `atexit`."""
    Finalize(None, remove_directories, exitpriority=1)


def _search_part(count: int, seed: int) -> _Found:
    tally = Tally()
    try:
        search(count, seed, tally)
    except Broken as broken:
        return _Found(tally, str(broken))
    return _Found(tally)


def _try_wire() -> int:
    began = time.monotonic()
    with wire.site() as here:
        cases = wire.all_cases(wire.count_requests(here))
        print(f"{len(cases)} pushes over HTTP, one fault each", flush=True)
        try:
            tried = wire.try_faults(here, cases, lambda tried: _tell(f"  {tried.pushes}, {time.monotonic() - began:.0f} s"))
        except Broken as broken:
            print(f"\n{broken}")
            return 1
    told = "\n".join(f"  {ending}: {count}" for ending, count in sorted(tried.endings.items()))
    print(f"\n{told}\n  {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _kill(jobs: int) -> int:
    began = time.monotonic()
    with kill.ground() as here:
        steps = here.all_steps()
        print(f"{len(steps)} processes killed, at each request that has to do with tags and records", flush=True)
        try:
            here.kill_at(steps, jobs, lambda done: _tell(f"  {done}, {time.monotonic() - began:.0f} s"))
        except Broken as broken:
            print(f"\n{broken}")
            return 1
    print(f"\n  {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _tell(line: str) -> None:
    """How far it is: over and over in one line for people, and else not at all."""
    if sys.stdout.isatty():
        print(f"\r{line}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
