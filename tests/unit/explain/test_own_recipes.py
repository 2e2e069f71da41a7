"""A recipe of one's own, line by line; and what stands in place of a built-in one."""

from pathlib import Path

import pytest

from builder.errors import RequestError
from builder.explain.fact import ExplainedImage
from builder.recipe.loader import shipped
from tests.samples.explained import explain, fact, places, sample_evidence, sample_job, section, write_tree

RECIPE = """\
image: fourth
istio: 1.12+
template: fourth.Dockerfile.j2
binaries:
  - main: ./cmd/fourth
    tags: { 1.12 to 1.16: standard, 1.17+: agent }
    path: /usr/local/bin/fourth
files:
  - istio: 1.12 to 1.20
    source: old.json
    path: /etc/fourth.json
  - istio: 1.21+
    source: new.json
    path: /etc/fourth.json
    mode: "0600"
artifacts:
  - artifact: envoy
    path: /usr/local/bin/envoy
variants:
  debug: { base: base }
  distroless:
    base:
      1.12 to 1.22: distroless
      1.23+: iptables
users:
  - name: fourth
    uid: 1400
user:
  1.12 to 1.28: null
  1.29+: "1400"
entrypoint: [/usr/local/bin/fourth]
env:
  HUB: "{{ hub }}"
  SHA:
    1.12+: "{{ dependencies.PROXY_REPO_SHA }}-{{ architecture }}"
labels:
  unsaid: "{{ version }}"
"""
TEMPLATE = """\
FROM {{ image.base }}
{% for layer in image.layers %}
ADD --link {{ layer.archive }} /
{% endfor %}
{% for name, value in image.env %}
ENV {{ name }}={{ value | quoted }}
{% endfor %}
STOPSIGNAL SIGTERM
RUN one && \\
    two
{% if image.user %}
USER {{ image.user }}
{% endif %}
ENTRYPOINT {{ image.entrypoint | exec_form }}
"""


def write_recipes(directory: Path) -> Path:
    directory.mkdir()
    (directory / "fourth.yaml").write_text(RECIPE)
    (directory / "fourth.Dockerfile.j2").write_text(TEMPLATE)
    return directory


def fourth(tmp_path: Path, release: str = "1.29.0") -> ExplainedImage:
    tree = write_tree(tmp_path / "tree", release)
    evidence = sample_evidence(tree, sample_job(tree), release, (write_recipes(tmp_path / "own"),))
    return explain(evidence, "fourth")["fourth"]


@pytest.mark.parametrize(
    ("release", "line", "source", "mode"),
    [
        ("1.29.0", 14, ("new.json", "fourth.yaml:13"), ("0600", "fourth.yaml:15")),
        ("1.20.0", 11, ("old.json", "fourth.yaml:10"), None),
    ],
)
def test_a_file_is_there_by_the_entry_of_its_release(
    tmp_path: Path, release: str, line: int, source: tuple[str, str], mode: tuple[str, str] | None
) -> None:
    told = fact(section(fourth(tmp_path, release), "files"), "/etc/fourth.json")
    assert places(told) == [f"fourth.yaml:{line}"]
    assert told.origins[0].ranges[-1].releases == ("1.21+" if release == "1.29.0" else "1.12 to 1.20")
    found, modes = fact(told.parts, "from"), fact(told.parts, "mode")
    assert (found.value, *places(found)) == source
    assert (modes.value, *places(modes)) == (mode or ("0644", "mode"))


def test_a_download_has_the_places_where_it_is_looked_for_on_each_platform(tmp_path: Path) -> None:
    told = fact(section(fourth(tmp_path), "files"), "/usr/local/bin/envoy")
    looked_for = [each for each in told.parts if each.name == "looked for"]
    assert [each.platforms for each in looked_for] == [("linux/amd64",), ("linux/arm64",)]
    release = (shipped("recipes") / "release.yaml").read_text().splitlines()
    for each, architecture in zip(looked_for, ("amd64", "arm64"), strict=True):
        assert [part.name for part in each.parts] == ["url", "url", "image"]
        for url in each.parts[:2]:
            base, file = url.origins
            assert url.value.partition("/envoy-alpha")[0] in release[base.line - 1]
            assert file.key == f"artifacts.envoy.file.{architecture}"
            sha = fact(url.parts, "dependencies.PROXY_REPO_SHA")
            assert (sha.value in url.value, places(sha)) == (True, ["istio.deps:7"])


@pytest.mark.parametrize(("release", "tag_set", "range_"), [("1.29.0", "agent", "1.17+"), ("1.14.0", "standard", "1.12 to 1.16")])
def test_a_program_has_the_tags_of_its_release(tmp_path: Path, release: str, tag_set: str, range_: str) -> None:
    [program] = section(fourth(tmp_path, release), "programs")
    assert (program.name, places(program)) == ("/usr/local/bin/fourth", ["fourth.yaml:7"])
    package, tags = program.parts
    assert (package.value, places(package)) == ("./cmd/fourth", ["fourth.yaml:5"])
    [chosen] = tags.parts
    assert (chosen.value, places(chosen)) == (tag_set, ["fourth.yaml:6"])
    assert [each.releases for each in chosen.origins[0].ranges] == ["1.12+", range_]
    assert [origin.key for origin in tags.origins] == [f"go.tags.{tag_set}"]


def test_a_base_is_followed_to_what_its_registry_and_tag_are_from(tmp_path: Path) -> None:
    told = fact(section(fourth(tmp_path), "bases"), "distroless")
    assert told.value == "docker.io/istio/iptables:1.29-2026-02-04"
    assert [origin.key for origin in told.origins] == ["bases.iptables"]
    assert [(part.name, part.value, *places(part)) for part in told.parts if part.name != "base_registry"] == [
        ("base", "iptables", "fourth.yaml:24"),
        ("base_version", "1.29-2026-02-04", "Makefile.core.mk:2"),
    ]
    registry = fact(told.parts, "base_registry")
    assert (registry.value, registry.origins[0].key) == ("docker.io/istio", "base_registry")
    assert "docker.io/istio" in Path(registry.origins[0].path).read_text().splitlines()[registry.origins[0].line - 1]


def test_how_it_is_run_has_the_lines_of_recipe_and_template(tmp_path: Path) -> None:
    told = section(fourth(tmp_path), "configuration")
    found = {each.name: (each.value, *places(each)) for each in told if not each.platforms}
    assert found == {
        "FROM": ("the base", "fourth.Dockerfile.j2:1"),
        "ADD": ("the files, each a layer", "fourth.Dockerfile.j2:3"),
        "ENV HUB": ("hub.test/istio", "fourth.yaml:33", "fourth.Dockerfile.j2:6"),
        "STOPSIGNAL": ("SIGTERM", "fourth.Dockerfile.j2:8"),
        "RUN": ("one && two", "fourth.Dockerfile.j2:9"),
        "USER": ("1400", "fourth.yaml:30", "fourth.Dockerfile.j2:12"),
        "ENTRYPOINT": ('["/usr/local/bin/fourth"]', "fourth.yaml:31", "fourth.Dockerfile.j2:14"),
        "LABEL unsaid": ("1.29.0, but not in the image", "fourth.yaml:37", "fourth.Dockerfile.j2:1"),
        "WORKDIR": ("the base image's own", "fourth.yaml:1"),
        "CMD": ("the base image's own", "fourth.yaml:1"),
    }
    by_platform = [(each.platforms, each.value.rpartition("-")[2], places(each)[0]) for each in told if each.platforms]
    assert by_platform == [
        (("linux/amd64",), "amd64", "fourth.yaml:35"),
        (("linux/arm64",), "arm64", "fourth.yaml:35"),
    ]


def test_a_user_that_is_null_is_the_base_images_own(tmp_path: Path) -> None:
    told = fact(section(fourth(tmp_path, "1.20.0"), "configuration"), "USER")
    assert (told.value, places(told)) == ("the base image's own", ["fourth.yaml:28"])


def test_users_are_told(tmp_path: Path) -> None:
    [told] = section(fourth(tmp_path), "users")
    assert (told.name, told.value, places(told)) == ("fourth", "1400:1400, home /home/fourth", ["fourth.yaml:26"])


def test_the_head_says_for_which_releases_it_is_and_where_the_same_holds(tmp_path: Path) -> None:
    told = section(fourth(tmp_path, "1.22.1"), "recipe")
    assert places(fact(told, "recipe")) == ["fourth.yaml:1"]
    same = fact(told, "the same for")
    # Bases change with 1.23, and tag sets with 1.21; install-cni's with 1.21.1, too, in release.yaml.
    assert (same.value, places(same)[1:]) == ("1.21.1 to 1.22", ["fourth.yaml:2"])
    assert places(fact(told, "template")) == ["fourth.yaml:3", "fourth.Dockerfile.j2:1"]
    assert places(fact(told, "group")) == ["group"]


def test_what_stands_in_place_of_a_built_in_file_says_so(tmp_path: Path) -> None:
    own, newer = tmp_path / "own", tmp_path / "newer"
    for directory in (own, newer):
        directory.mkdir()
        (directory / "mine.yaml").write_text((shipped("recipes") / "pilot.yaml").read_text())
    (own / "pilot.Dockerfile.j2").write_text((shipped("dockerfiles") / "pilot.Dockerfile.j2").read_text())
    tree = write_tree(tmp_path / "tree", "1.29.0")
    told = section(explain(sample_evidence(tree, sample_job(tree), extra=(own, newer)), "pilot")["pilot"], "recipe")
    recipe, template = fact(told, "recipe"), fact(told, "template")
    assert recipe.origins[0].path == str(newer / "mine.yaml")
    assert [(part.name, part.origins[0].path) for part in recipe.parts] == [
        ("instead of", str(own / "mine.yaml")),
        ("instead of", str(shipped("recipes") / "pilot.yaml")),
    ]
    assert [(part.name, part.origins[0].path) for part in template.parts] == [
        ("instead of", str(shipped("dockerfiles") / "pilot.Dockerfile.j2"))
    ]


def test_built_in_recipes_stand_in_place_of_nothing(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "1.29.0")
    told = section(explain(sample_evidence(tree, sample_job(tree)), "pilot")["pilot"], "recipe")
    assert [part for each in told for part in each.parts] == []


def test_names_may_have_a_variant_or_be_a_group(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "1.29.0")
    evidence = sample_evidence(tree, sample_job(tree))
    assert {name: image.variants for name, image in explain(evidence, "pilot-distroless", "ztunnel").items()} == {
        "pilot": ("distroless",),
        "ztunnel": ("debug", "distroless"),
    }
    both = explain(evidence, "pilot-distroless", "pilot-debug")
    assert both["pilot"].variants == ("distroless", "debug")
    assert set(explain(evidence)) == {"istioctl", "pilot", "proxyv2"}


def test_an_unknown_name_is_told_with_the_nearest(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", "1.29.0")
    with pytest.raises(RequestError, match="there is no image 'proxy'") as told:
        explain(sample_evidence(tree, sample_job(tree)), "proxy")
    assert "Did you mean proxyv2?" in told.value.hint
