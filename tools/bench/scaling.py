"""How a push grows: with images, hubs and tags where nothing changed, and with the size of a layer that is new.

On the sample tree, with a registry on this machine. Each point is a push as a whole process; what is printed is the median.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tools.bench.blobs import write_blob
from tools.bench.contestants import environment, settings
from tools.bench.process import run, timed
from tools.bench.work import ROOT, Site, Work, say

TABLES = ("images", "hubs", "tags", "size")
SIZES = (10, 100, 500, 1000, 2000)
# Below this share of the last point, seconds are as good as the same.
_NOISE = 0.1
_IMAGES = (1, 3, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """What is measured with what."""

    site: Site
    work: Work
    engine: str
    rounds: int
    max_size: int


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a table: so many of something, and what a push took with them."""

    count: int
    seconds: float
    requests: float


def measure_table(rig: Rig, name: str) -> str:
    """One of the tables, as Markdown."""
    measures: dict[str, tuple[str, Callable[[Rig], list[Point]]]] = {
        "images": ("images, nothing changed", _measure_images),
        "hubs": ("hubs, nothing changed", _measure_hubs),
        "tags": ("tags, nothing changed", _measure_tags),
        "size": ("MB in a new layer", _measure_sizes),
    }
    title, act = measures[name]
    return show_points(title, act(rig))


def show_points(title: str, points: Sequence[Point]) -> str:
    """A table with a last row that says how each column grows."""
    rows = [f"| {point.count} | {point.seconds:.2f} | {point.requests:.0f} |" for point in points]
    seconds = judge_growth([(point.count, point.seconds) for point in points], _NOISE)
    requests = judge_growth([(point.count, point.requests) for point in points], 0)
    return "\n".join([f"| {title} | seconds | requests |", "| --- | --- | --- |", *rows, f"| growth | {seconds} | {requests} |"])


def judge_growth(points: Sequence[tuple[int, float]], noise: float) -> str:
    """`linear`, or better or worse than that: whether the second half goes on as the first began.

    A line is drawn through the first point and the middle one, and the last is held against it; what is within `noise`, a
    share of the last, is on the line. What a run costs in any case is thereby not mistaken for good growth.
    """
    if len(points) < 3:
        return "too few points"
    (x0, y0), (x1, y1), (x2, y2) = points[0], points[len(points) // 2], points[-1]
    expected = y0 + (y1 - y0) / (x1 - x0) * (x2 - x0)
    slack = noise * y2
    if y2 > expected + slack:
        return "worse than linear"
    if abs(y2 - y0) <= slack:
        return "none"
    return "better than linear" if y2 < expected - slack else "linear"


def _measure_images(rig: Rig) -> list[Point]:
    """The example's image over and over, each under a name of its own, so that each is as much work as the next."""
    recipes = rig.site.scratch / "recipes"
    names = write_recipes(recipes, _IMAGES[-1])
    points = []
    for count in _IMAGES:
        work = replace(rig.work, name=f"images-{count}", images=tuple(names[:count]), variants=("debug",))
        points.append(_unchanged(rig, count, work, ["--recipes", str(recipes)], [_hub(rig, work.name)], ()))
    return points


def _measure_hubs(rig: Rig) -> list[Point]:
    work = replace(rig.work, name="hubs")
    hubs = [_hub(rig, f"hub-{number}") for number in range(5)]
    return [_unchanged(rig, count, work, [], hubs[:count], ()) for count in range(1, 6)]


def _measure_tags(rig: Rig) -> list[Point]:
    work = replace(rig.work, name="tags")
    tags = [f"more-{number}" for number in range(4)]
    return [_unchanged(rig, count, work, [], [_hub(rig, work.name)], tags[: count - 1]) for count in range(1, 6)]


def _measure_sizes(rig: Rig) -> list[Point]:
    """A new Envoy of random bytes each time, for one platform; the rest is there."""
    work = replace(rig.work, name="size", images=("proxyv2",), variants=("debug",), platforms=("linux/amd64",))
    blob, points = rig.site.scratch / "blob", []
    for size in (size for size in SIZES if size <= rig.max_size):
        taken = []
        for number in range(rig.rounds + 1):
            write_blob(blob, "amd64", size)
            # Back to the bases: the disk would fill with what nobody looks at again.
            rig.site.registry.reset()
            taken.append(_push(rig, work, ["--envoy", f"linux/amd64={blob}"], [_hub(rig, work.name)], ()))
            say([f"size: {size} MB, {taken[-1][0]:.2f} s", "(not counted)" if number == 0 else ""])
        points.append(_point(size, taken[1:]))
    return points


def _unchanged(rig: Rig, count: int, work: Work, more: Sequence[str], hubs: Sequence[str], tags: Sequence[str]) -> Point:
    _push(rig, work, more, hubs, tags)
    taken = [_push(rig, work, more, hubs, tags) for _ in range(rig.rounds)]
    point = _point(count, taken)
    say([f"{work.name}: {count}, {point.seconds:.2f} s, {point.requests:.0f} requests"])
    return point


def _point(count: int, taken: Sequence[tuple[float, int]]) -> Point:
    return Point(count, statistics.median(seconds for seconds, _ in taken), statistics.median(requests for _, requests in taken))


def _push(rig: Rig, work: Work, more: Sequence[str], hubs: Sequence[str], tags: Sequence[str]) -> tuple[float, int]:
    """Seconds and requests of a push."""
    words = [word for hub in hubs[1:] for word in ("--hub", hub)] + [word for tag in tags for word in ("--tag", tag)]
    argv = [sys.executable, "-m", "builder", "push", "--engine", rig.engine]
    argv += [*settings(rig.site, rig.site.source, hubs[0], work), *words, *more]
    mark = rig.site.registry.mark()
    seconds = timed(lambda: run(argv, environment(rig.site, work)))
    return seconds, sum(rig.site.registry.requests_since(mark).values())


def _hub(rig: Rig, name: str) -> str:
    return f"{rig.site.registry.host}/{name}"


def write_recipes(directory: Path, count: int) -> list[str]:
    """So many copies of the example's recipe, each under a name of its own; gives the names."""
    example = ROOT / "examples" / "recipes"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "echo.Dockerfile.j2").write_text((example / "echo.Dockerfile.j2").read_text())
    names = [f"echo-{number}" for number in range(1, count + 1)]
    for name in names:
        recipe = (example / "echo.yaml").read_text().replace("image: echo\n", f"image: {name}\n")
        (directory / f"{name}.yaml").write_text(recipe)
    return names
