"""What `list` says can be built: by image, release and platform."""

from pathlib import Path

from builder.cli.availability_view import support_json, support_table
from builder.recipe.availability import ImageSupport, find_support, support_at
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from tests.samples.images import AMD64, ARM64
from tests.samples.plans import built_in, load_book

RECIPE = """\
istio: 1.12 to 1.20.6, 1.21.0
image: fourth
group: test
template: pilot.Dockerfile.j2
artifacts:
  - artifact: envoy
    path: /usr/local/bin/envoy
variants:
  debug: { base: base }
  distroless: { istio: 1.14+, base: base }
"""


def entry(support: tuple[ImageSupport, ...], image: str) -> ImageSupport:
    return next(one for one in support if one.image == image)


def test_an_image_is_listed_with_the_releases_that_have_it() -> None:
    support = find_support(built_in())
    assert {one.image: one.releases for one in support if one.releases != "1.10+"} == {
        "agentgateway": "1.29+",
        "operator": "1.10 to 1.23",
        "ztunnel": "1.18+",
    }


def test_a_platform_lacks_what_nobody_publishes_for_it() -> None:
    lacks = dict(entry(find_support(built_in()), "proxyv2").lacks)
    assert lacks[AMD64] == (("1.10+", ""),)
    assert lacks[ARM64] == (("1.10 to 1.14", "envoy"), ("1.15+", ""))


def test_ranges_with_patches_come_out_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "fourth.yaml").write_text(RECIPE)
    found = entry(find_support(load_recipes((tmp_path,))), "fourth")
    assert found.releases == "1.12 to 1.20.6, 1.21.0"
    assert found.variants == (
        ("1.12 to 1.13", "debug"),
        ("1.14 to 1.20.6", "debug, distroless"),
        ("1.21.0", "debug, distroless"),
    )


def test_of_one_release_only_its_own_images_are_listed() -> None:
    support = support_at(load_book(release=IstioRelease(1, 14, 3)))
    assert {one.releases for one in support} == {"1.14.3"}
    images = {one.image for one in support}
    assert "operator" in images
    assert not images & {"ztunnel", "agentgateway"}
    assert dict(entry(support, "proxyv2").lacks)[ARM64] == (("1.14.3", "envoy"),)


def test_the_table_says_it_in_words() -> None:
    lines = support_table(find_support(built_in())).splitlines()
    assert lines[0].split() == ["IMAGE", "GROUP", "RELEASES", "VARIANTS", "linux/amd64", "linux/arm64"]
    proxy = next(line for line in lines if line.startswith("proxyv2 "))
    assert proxy.endswith("  yes          1.10 to 1.14: bring your own envoy; 1.15+: yes")


def test_json_has_the_same() -> None:
    found = {str(one["image"]): one for one in support_json(find_support(built_in()))}
    assert found["proxyv2"]["platforms"] == {
        "linux/amd64": [{"releases": "1.10+", "lacks": []}],
        "linux/arm64": [{"releases": "1.10 to 1.14", "lacks": ["envoy"]}, {"releases": "1.15+", "lacks": []}],
    }
    assert found["istioctl"]["variants"] == {"1.10 to 1.11": ["default", "distroless"], "1.12+": ["debug", "distroless"]}
