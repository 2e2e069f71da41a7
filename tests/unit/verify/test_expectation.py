"""What a release should have, as recipes tell it without Istio's source."""

from pathlib import Path

import pytest

from builder.errors import RequestError
from builder.oci.reference import Hub, Platform
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.verify.expectation import ExpectedImage, Selection, expect_release

HUB = Hub.parse("docker.io/me")


def expect(release: str, *images: str, variants: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> tuple[ExpectedImage, ...]:
    istio = IstioRelease.parse(release)
    assert istio
    selection = Selection(images=images, variants=variants, tags=tags or (release,))
    return expect_release(load_recipes().at(istio), selection)[0]


def references(images: tuple[ExpectedImage, ...]) -> list[str]:
    return [str(reference).removeprefix("docker.io/me/") for image in images for reference in image.references(HUB)]


def test_all_images_and_tags_of_a_release() -> None:
    every = references(expect("1.29.0"))
    names = ("agentgateway", "app", "install-cni", "istioctl", "pilot", "proxyv2", "ztunnel")
    assert every == [f"{name}:1.29.0{variant}" for name in names for variant in ("", "-debug", "-distroless")]


def test_what_a_release_did_not_have_is_not_looked_for() -> None:
    assert references(expect("1.11.0", "pilot")) == ["pilot:1.11.0", "pilot:1.11.0-distroless"]
    assert {reference.partition(":")[0] for reference in references(expect("1.17.0"))} == {
        *("app", "install-cni", "istioctl", "operator", "pilot", "proxyv2")
    }


def test_images_whose_tags_stand_in_the_source_are_named() -> None:
    book = load_recipes().at(IstioRelease(1, 29, 0))
    assert expect_release(book, Selection(tags=("1.29.0",)))[1] == ("base", "distroless", "iptables")
    assert expect_release(book, Selection(images=("base",), tags=("1.29.0",))) == ((), ("base",))


def test_only_what_is_asked_for() -> None:
    assert references(expect("1.29.0", "pilot", variants=("distroless",), tags=("corp-1", "corp-2"))) == [
        "pilot:corp-1-distroless",
        "pilot:corp-2-distroless",
    ]
    assert references(expect("1.29.0", "core", variants=("debug",))) == [
        f"{name}:{tag}" for name in ("istioctl", "pilot", "proxyv2") for tag in ("1.29.0", "1.29.0-debug")
    ]


def test_what_there_is_not_is_an_error() -> None:
    with pytest.raises(RequestError, match="'pilto'"):
        expect("1.29.0", "pilto")
    with pytest.raises(RequestError, match="'slim'"):
        expect("1.29.0", "pilot", variants=("slim",))


def test_values_that_the_release_decides() -> None:
    (pilot,) = expect("1.29.0", "pilot", variants=("distroless",), tags=("1.29.0-corp.1",))
    assert (pilot.user, pilot.entrypoint) == ("1337:1337", ("/usr/local/bin/pilot-discovery",))
    labels = dict(pilot.labels)
    # A copy of Istio's own under another tag is stamped with the release.
    assert labels["org.opencontainers.image.version"] == ("1.29.0-corp.1", "1.29.0")
    assert labels["org.opencontainers.image.revision"] == ()
    assert pilot.versions == ("1.29.0-corp.1", "1.29.0")
    assert pilot.original == "1.29.0-distroless"
    assert [(file.path, file.package) for file in pilot.files] == [
        ("/usr/local/bin/pilot-discovery", "/pilot/cmd/pilot-discovery")
    ]


def test_env_that_stands_in_the_source_has_no_value() -> None:
    (proxy,) = expect("1.17.0", "proxyv2", variants=("debug",))
    assert dict(proxy.env) == {"ISTIO_META_ISTIO_PROXY_SHA": (), "ISTIO_META_ISTIO_VERSION": ("1.17.0",)}


def test_platforms_of_which_nobody_publishes_all() -> None:
    (old,) = expect("1.14.0", "proxyv2", variants=("debug",))
    assert old.lacks == (Platform("linux", "arm64"),)
    (new,) = expect("1.15.0", "proxyv2", variants=("debug",))
    assert new.lacks == ()


def test_an_image_is_optional_unless_it_is_named_or_of_the_core() -> None:
    assert {image.image for image in expect("1.29.0") if not image.optional} == {"istioctl", "pilot", "proxyv2"}
    assert not any(image.optional for image in expect("1.29.0", "ztunnel"))


def test_recipes_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "tool.yaml").write_text(
        "image: tool\nistio: 1.12+\ntemplate: pilot.Dockerfile.j2\nentrypoint: [/tool]\n"
        "binaries: [{ main: ./tools/tool, tags: standard, path: /tool }]\nvariants: { debug: { base: base } }\n"
    )
    book = load_recipes((tmp_path,)).at(IstioRelease(1, 29, 0))
    (tool,), _ = expect_release(book, Selection(images=("tool",), tags=("1.29.0",)))
    assert (tool.entrypoint, tool.tags) == (("/tool",), ("1.29.0", "1.29.0-debug"))
