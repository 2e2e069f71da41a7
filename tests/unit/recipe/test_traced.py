"""Lines of a narrowed recipe: where each value stands in the file, and by which ranges it is there."""

from pathlib import Path

import pytest

from builder.recipe.istio_release import IstioRelease
from builder.recipe.traced import RecipeRange, TracedRecipe
from builder.recipe.yaml_file import read_yaml

TEXT = """\
istio: 1.12+
image: fourth
binaries:
  - istio: 1.12 to 1.19
    main: ./old
  - main: ./new
    tags: { 1.12 to 1.16: standard, 1.17+: agent }
variants:
  distroless:
    base:
      1.12 to 1.22: distroless
      1.23+: iptables
user:
  1.12 to 1.28: null
  1.29+: "1000"
wasm: &wasm
  istio: 1.12 to 1.29
  base_urls: [https://a.example, https://b.example]
  file:
    amd64: &name one
    arm64: *name
compiled:
  <<: *wasm
  file: { amd64: two }
several:
  <<: [{ first: 1 }, { first: 2, second: 3 }]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "fourth.yaml").write_text(TEXT)
    return tmp_path / "fourth.yaml"


def at(path: Path, minor: int) -> TracedRecipe:
    return TracedRecipe(read_yaml(path), IstioRelease(1, minor, 0))


WHOLE = ("1.12+", 1)


@pytest.mark.parametrize(
    ("minor", "location", "line", "key", "ranges"),
    [
        (29, ("image",), 2, "image", [WHOLE]),
        # The first of the list is gone there: the second stands in its place.
        (18, ("binaries", 0, "main"), 5, "binaries[0].main", [WHOLE, ("1.12 to 1.19", 4)]),
        (29, ("binaries", 0, "main"), 6, "binaries[1].main", [WHOLE]),
        (16, ("binaries", 1, "tags"), 7, "binaries[1].tags", [WHOLE, ("1.12 to 1.16", 7)]),
        (29, ("binaries", 0, "tags"), 7, "binaries[1].tags", [WHOLE, ("1.17+", 7)]),
        (22, ("variants", "distroless", "base"), 11, "variants.distroless.base", [WHOLE, ("1.12 to 1.22", 11)]),
        (23, ("variants", "distroless", "base"), 12, "variants.distroless.base", [WHOLE, ("1.23+", 12)]),
        (29, ("user",), 15, "user", [WHOLE, ("1.29+", 15)]),
        # Where it is null, the key that says so is what there is to look at.
        (28, ("user",), 13, "user", [WHOLE]),
        (29, ("wasm", "base_urls", 1), 18, "wasm.base_urls[1]", [WHOLE, ("1.12 to 1.29", 17)]),
        (29, ("wasm", "file", "arm64"), 21, "wasm.file.arm64", [WHOLE, ("1.12 to 1.29", 17)]),
        # What is merged stands where it is merged from.
        (29, ("compiled", "base_urls", 0), 18, "compiled.base_urls[0]", [WHOLE, ("1.12 to 1.29", 17)]),
        (29, ("compiled", "file", "amd64"), 24, "compiled.file.amd64", [WHOLE, ("1.12 to 1.29", 17)]),
        (29, ("several", "second"), 26, "several.second", [WHOLE]),
    ],
)
def test_a_value_has_the_line_that_it_stands_on(
    path: Path, minor: int, location: tuple[str | int, ...], line: int, key: str, ranges: list[tuple[str, int]]
) -> None:
    found = at(path, minor).line(*location)
    assert found
    assert (found.path, found.line, found.key) == (path, line, key)
    assert found.ranges == tuple(RecipeRange(releases=releases, line=number) for releases, number in ranges)


def test_what_the_file_does_not_say_has_no_line(path: Path) -> None:
    assert at(path, 29).line("template") is None
    assert at(path, 29).line("binaries", 7, "main") is None
