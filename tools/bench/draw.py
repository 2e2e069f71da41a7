"""Draws the ratios of a report as an SVG that stands alone, and follows the reader's light or dark theme."""

from collections.abc import Iterator, Sequence
from html import escape

from tools.bench.results import Phase, Report

_TITLES = {
    "changed": "One Go file changed, pilot pushed",
    "relink": "All linked anew for another hub, three images",
    "cold": "Empty build cache, three images",
    "package": "Packed and pushed, nothing to compile",
    "unchanged": "Nothing changed, three images",
}
# What one stands for: the bare compiler, where there is something to compile.
_REFERENCES = {phase: "docker-builder crane" if phase in ("package", "unchanged") else "go build" for phase in _TITLES}
_BARS = (
    ("builtin", "istio-build, builtin", "ours"),
    ("buildx", "istio-build, buildx", "ours"),
    ("docker-builder crane", "docker-builder, crane", "theirs"),
    ("docker-builder docker", "docker-builder, docker", "theirs"),
)
_LABEL, _BAR, _VALUE = 190, 420, 80
_WIDTH = _LABEL + _BAR + _VALUE
_ROW, _HEAD, _GAP = 22, 26, 14
# What is longer than this ends at the edge; its figure stands beside it.
_LONGEST = 3.0

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.head { font-weight: 600; }
.note { fill: #59636e; font-size: 11px; }
.ours { fill: #0969da; }
.theirs { fill: #afb8c1; }
.one { stroke: #cf222e; stroke-dasharray: 3 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note { fill: #9198a1; }
  .ours { fill: #4493f8; }
  .theirs { fill: #656c76; }
  .one { stroke: #f85149; }
}"""


def draw_report(report: Report) -> str:
    """A group of bars for each phase; one is the bare compiler, or docker-builder in crane mode where nothing is compiled."""
    parts: list[str] = []
    y = _GAP
    for name in _TITLES:
        phase = report.phase(name)
        bars = _bars(phase) if phase else []
        if bars:
            parts += _draw_group(name, bars, y)
            y += _HEAD + len(bars) * _ROW + _GAP
    note = ", ".join(f"{key} {value}" for key, value in report.machine.items())
    parts.append(f'<text class="note" x="0" y="{y + 4}">{escape(note)}</text>')
    height = y + _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">'
    )
    title = "<title>How long istio-build takes beside go build and docker-builder</title>"
    return "\n".join([head, title, f"<style>\n{_STYLE}\n</style>", *parts, "</svg>"]) + "\n"


def _bars(phase: Phase) -> list[tuple[str, str, float]]:
    """Label, class and ratio of each that was measured."""
    ratios = ((label, kind, phase.ratio(name, _REFERENCES[phase.name])) for name, label, kind in _BARS)
    return [(label, kind, ratio) for label, kind, ratio in ratios if ratio is not None]


def _draw_group(name: str, bars: Sequence[tuple[str, str, float]], y: int) -> Iterator[str]:
    yield f'<text class="head" x="0" y="{y + 13}">{escape(_TITLES[name])}</text>'
    one = _LABEL + _scale(1.0)
    yield f'<text class="note" x="{_WIDTH}" y="{y + 13}" text-anchor="end">1.0 = {escape(_REFERENCES[name])}</text>'
    top = y + _HEAD
    for row, (label, kind, ratio) in enumerate(bars):
        line = top + row * _ROW
        length = _scale(min(ratio, _LONGEST))
        yield f'<text x="0" y="{line + 13}">{escape(label)}</text>'
        yield f'<rect class="{kind}" x="{_LABEL}" y="{line + 2}" width="{length}" height="{_ROW - 8}" rx="2"/>'
        yield f'<text x="{_LABEL + length + 6}" y="{line + 13}">{ratio:.2f} ×</text>'
    yield f'<line class="one" x1="{one}" y1="{top - 2}" x2="{one}" y2="{top + len(bars) * _ROW - 4}"/>'


def _scale(ratio: float) -> int:
    return round(ratio / _LONGEST * _BAR)
