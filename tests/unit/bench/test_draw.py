"""The drawing: golden, well-formed, and in step with the figures it shows."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests import ROOT
from tests.samples.golden import GOLDEN, check_golden
from tools.bench.draw import draw_report
from tools.bench.results import Phase, Report, Round, read_report

SVG = "{http://www.w3.org/2000/svg}"
DOCUMENT = ROOT / "docs" / "bench.json"
# The sample, and what the project shows: either file of it asks for the other.
FIGURES = [GOLDEN / "bench.json", *([DOCUMENT] if DOCUMENT.exists() or DOCUMENT.with_suffix(".svg").exists() else [])]


@pytest.mark.parametrize("figures", FIGURES, ids=lambda path: path.parent.name)
def test_a_drawing_is_that_of_its_figures(figures: Path) -> None:
    """Of docs/bench.json too: `python -m tools.bench draw docs/bench.json docs/bench.svg`."""
    check_golden(figures.with_suffix(".svg"), draw_report(read_report(json.loads(figures.read_text()))))


def bars(*ratios: float) -> list[ElementTree.Element]:
    names = ("builtin", "buildx", "docker-builder crane")
    seconds = {"go build": 1.0, **dict(zip(names, ratios, strict=False))}
    drawing = draw_report(Report({"cores": "2 & more"}, (Phase("changed", (Round((), seconds),)),)))
    return list(ElementTree.fromstring(drawing).iter(f"{SVG}rect"))


def test_a_bar_is_as_long_as_its_ratio() -> None:
    lengths = [int(bar.attrib["width"]) for bar in bars(0.5, 1.0, 2.0)]
    assert lengths[1] == 2 * lengths[0]
    assert lengths[2] == 4 * lengths[0]


def test_one_is_where_the_line_is() -> None:
    drawing = ElementTree.fromstring((GOLDEN / "bench.svg").read_text())
    line = next(drawing.iter(f"{SVG}line"))
    bar = bars(1.0)[0]
    assert int(line.attrib["x1"]) == int(bar.attrib["x"]) + int(bar.attrib["width"])


def test_a_bar_that_is_too_long_ends_at_the_edge_and_says_how_long_it_is() -> None:
    assert bars(50.0)[0].attrib["width"] == bars(9.0)[0].attrib["width"]
    drawing = draw_report(Report({}, (Phase("changed", (Round((), {"go build": 1.0, "builtin": 50.0}),)),)))
    assert "50.00 ×" in drawing


def test_it_stands_alone_in_light_and_dark() -> None:
    drawing = (GOLDEN / "bench.svg").read_text()
    assert "@media (prefers-color-scheme: dark)" in drawing
    assert "href" not in drawing
    assert drawing.count("http") == 1, "the namespace, and nothing that is loaded from elsewhere"


def test_what_was_not_measured_is_not_drawn() -> None:
    drawing = draw_report(Report({}, (Phase("cold", (Round((), {"builtin": 1.0}),)),)))
    assert "Empty build cache" not in drawing
