"""Who gave a setting, and what it changes: flags, variables, the project file, defaults."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.config.merged import Given, Setting
from builder.config.project_file import read_project
from builder.explain.evidence import origin_of
from builder.explain.fact import ExplainedImage, Origin
from builder.recipe.yaml_file import YamlDocument
from tests.samples.explained import explain, fact, places, sample_evidence, sample_job, section, write_tree


def flag(name: str, *words: str, spelled: str = "") -> dict[str, Given]:
    return {name: Given(words=words, origin=spelled or f"--{name.replace('_', '-')}")}


def variable(name: str, *words: str) -> dict[str, Given]:
    return {name: Given(words=words, origin=f"ISTIO_BUILD_{name.upper()}")}


def project(directory: Path, text: str) -> YamlDocument:
    (directory / "istio-build.yaml").write_text(text)
    return read_project(directory / "istio-build.yaml")


def told(tmp_path: Path, given: dict[str, Given], file: str = "", image: str = "proxyv2") -> ExplainedImage:
    tree = write_tree(tmp_path / "tree", "1.29.0")
    job = sample_job(tree, given, project(tmp_path, file) if file else None)
    return explain(sample_evidence(tree, job), image)[image]


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ("--hub", Origin(kind="flag", key="--hub")),
        ("ISTIO_BUILD_HUB", Origin(kind="variable", key="ISTIO_BUILD_HUB")),
        ("a/istio-build.yaml:3", Origin(kind="project_file", path="a/istio-build.yaml", line=3, key="hub")),
        ("default", Origin(kind="default", key="--hub")),
        ("the working directory is it", Origin(kind="found", text="the working directory is it", key="hub")),
    ],
)
def test_each_origin_of_a_setting(setting: str, origin: Origin) -> None:
    assert origin_of(Setting(name="hub", value="x", origin=setting)) == origin


BASE_FILE = "tag: 1.29.0-corp\nplatform: linux/amd64\nbase_registry: registry.corp.example/istio\n"


@pytest.mark.parametrize(
    ("given", "file", "kind", "where"),
    [
        (flag("base_registry", "a.example/istio"), BASE_FILE, "flag", "--base-registry"),
        (variable("base_registry", "a.example/istio"), BASE_FILE, "variable", "ISTIO_BUILD_BASE_REGISTRY"),
        ({}, BASE_FILE, "project_file", "istio-build.yaml:3"),
    ],
)
def test_where_the_registry_of_bases_is_from(tmp_path: Path, given: dict[str, Given], file: str, kind: str, where: str) -> None:
    base = fact(section(told(tmp_path, given, file), "bases"), "debug")
    registry = fact(base.parts, "base_registry")
    assert base.value.startswith(f"{registry.value}/base:")
    assert registry.value != "docker.io/istio"
    assert ([origin.kind for origin in registry.origins], places(registry)) == ([kind], [where])


def test_a_base_of_ones_own_stands_in_place_of_the_recipes(tmp_path: Path) -> None:
    image = told(tmp_path, flag("base", "iptables=registry.corp.example/own:1"))
    base = fact(section(image, "bases"), "distroless")
    assert (base.value, places(base)) == ("registry.corp.example/own:1", ["--base"])
    assert fact(base.parts, "instead of").origins[0].key == "bases.iptables"
    assert fact(section(image, "bases"), "debug").origins[0].kind == "recipe"


def test_tags_hubs_and_variants_of_a_reference(tmp_path: Path) -> None:
    image = told(tmp_path, variable("hub", "hub.test/one"), "tag: 1.29.0-corp\nplatform: [linux/arm64]\n")
    tags = section(image, "tags")
    assert [(each.name, each.value) for each in tags] == [
        ("debug", "hub.test/one/proxyv2:1.29.0-corp"),
        ("debug", "hub.test/one/proxyv2:1.29.0-corp-debug"),
        ("distroless", "hub.test/one/proxyv2:1.29.0-corp-distroless"),
    ]
    release, recipe = "release.yaml:9", "proxyv2.yaml:37"
    assert places(tags[0]) == ["ISTIO_BUILD_HUB", "istio-build.yaml:1", release]
    assert places(tags[2]) == ["ISTIO_BUILD_HUB", "istio-build.yaml:1", recipe]
    [platform] = section(image, "platforms")
    assert (platform.name, places(platform)) == ("linux/arm64", ["istio-build.yaml:2"])


def test_defaults_are_told_with_the_flag_that_replaces_them(tmp_path: Path) -> None:
    image = told(tmp_path, {})
    assert [(each.name, each.origins[0].kind, places(each)) for each in section(image, "platforms")] == [
        ("linux/amd64", "default", ["--platform"]),
        ("linux/arm64", "default", ["--platform"]),
    ]
    tag = section(image, "tags")[0]
    assert [origin.kind for origin in tag.origins] == ["default", "git", "recipe"]
    assert "git tag" in tag.origins[1].text


@pytest.mark.parametrize(
    ("given", "value", "where"),
    [
        ({}, "1.25.0", ["go.mod:3"]),
        (flag("go", "1.26.1"), "1.26.1", ["--go"]),
        (flag("go", "1.26"), "1.26, its last patch", ["--go"]),
        (flag("go", "machine"), "this machine's", ["--go"]),
        (variable("go", "newest"), "the newest that there is", ["ISTIO_BUILD_GO"]),
        (flag("go", "release"), "1.25.0", ["go.mod:3", "--go"]),
        (flag("compile_in", "golang:1.25"), "that of the image golang:1.25", ["--compile-in", "compile.Dockerfile.j2:1"]),
    ],
)
def test_which_go_compiles_and_who_decided(tmp_path: Path, given: dict[str, Given], value: str, where: Sequence[str]) -> None:
    go = fact(section(told(tmp_path, given), "compiling"), "Go")
    assert (go.value, places(go)) == (value, where)


def test_flags_of_the_recipe_and_of_ones_own(tmp_path: Path) -> None:
    given = {**flag("go_flags", "-gcflags=-S", "-tags=own", "'-ldflags=-v -w'"), **flag("go_env", "CGO_ENABLED=1")}
    image = told(tmp_path, given)
    compiling = section(image, "compiling")
    flags = [(each.value, places(each)) for each in compiling if each.name == "flags"]
    assert [value for value, _ in flags] == ["-trimpath", "-gcflags=-S"]
    assert flags[1][1] == ["--go-flags"]
    linker = [(each.value, each.origins[0].key) for each in compiling if each.name == "-ldflags"]
    assert linker == [("-extldflags -static -s -w", "go.ldflags[0]"), ("-v -w", "--go-flags")]
    tags = fact(section(image, "programs")[0].parts, "-tags")
    assert tags.value == "agent,disable_pgv,grpcnotrace,retrynotrace,own"
    assert [origin.key for origin in tags.origins] == ["go.tags.agent", "--go-flags"]
    assert places(fact(compiling, "env CGO_ENABLED")) == ["--go-env"]
    assert fact(compiling, "env GOAMD64").origins[0].kind == "builder"


def test_debug_leaves_out_what_the_recipe_has(tmp_path: Path) -> None:
    image = told(tmp_path, {**flag("debug", "true"), **flag("debug_envoy", "true")})
    compiling = section(image, "compiling")
    assert [(each.value, places(each)) for each in compiling if each.name == "flags"] == [("-gcflags all=-N -l", ["--debug"])]
    assert [(each.value, each.origins[0].key) for each in compiling if each.name == "left out"] == [
        ("-trimpath", "--debug"),
        ("-ldflags -extldflags -static -s -w", "--debug"),
    ]
    envoy = fact(section(image, "files"), "/usr/local/bin/envoy")
    url = next(part for each in envoy.parts if each.name == "looked for" for part in each.parts)
    assert "/envoy-debug-" in url.value
    assert [origin.key for origin in url.origins] == [
        "artifacts.envoy.base_urls[0]",
        "artifacts.envoy.debug_file.amd64",
        "--debug-envoy",
    ]


def test_downloads_from_elsewhere(tmp_path: Path) -> None:
    given = {
        **flag("envoy_url", "https://user:secret@mirror.corp.example/proxy"),
        **flag("envoy", "linux/amd64=/opt/envoy"),
        **variable("envoy_from", "file", "url"),
    }
    image = told(tmp_path, given, "envoy_image: registry.corp.example/proxyv2:1\n")
    envoy = fact(section(image, "files"), "/usr/local/bin/envoy")
    on = {each.platforms[0]: each for each in envoy.parts if each.name == "looked for"}
    assert places(on["linux/amd64"]) == ["ISTIO_BUILD_ENVOY_FROM"]
    assert [(part.name, *places(part)[:1]) for part in on["linux/amd64"].parts] == [("file", "--envoy"), ("url", "--envoy-url")]
    assert [(part.name, *places(part)[:1]) for part in on["linux/arm64"].parts] == [("url", "--envoy-url")]
    assert "secret" not in repr(image)


def test_an_image_that_is_copied(tmp_path: Path) -> None:
    image = told(tmp_path, {}, image="agentgateway")
    [copy] = section(image, "copy")
    assert copy.value == "cr.agentgateway.dev/agentgateway:0.11.0"
    assert places(copy) == ["agentgateway.yaml:6"]
    assert [(part.value, *places(part)) for part in copy.parts] == [("0.11.0", "istio.deps:13")]


def test_a_copy_from_elsewhere(tmp_path: Path) -> None:
    image = told(tmp_path, flag("mirror_from", "agentgateway=registry.corp.example/ag:1"), image="agentgateway")
    [copy] = section(image, "copy")
    assert (copy.value, places(copy)) == ("registry.corp.example/ag:1", ["--mirror-from"])
    assert [(part.name, *places(part)) for part in copy.parts] == [("instead of", "agentgateway.yaml:6")]


def test_all_settings_are_listed(tmp_path: Path) -> None:
    image = told(tmp_path, flag("image", "pilot"), "hub: hub.test/two\nnotify: $SECRET_URL\n")
    found = {each.name: (each.value, *places(each)) for each in section(image, "settings")}
    assert found["hub"] == ("hub.test/two", "istio-build.yaml:1")
    assert found["image"] == ("pilot", "--image")
    assert found["notify"] == ("not shown", "istio-build.yaml:2")
    assert found["engine"] == ("auto", "--engine")
