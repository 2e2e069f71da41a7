"""What a user meets who asks for what cannot be: a message that says what, where and what next, and an exit code."""

import json
import re
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from builder.cli.program import cli
from tests import ROOT
from tests.real.program import Ended, istio_build

HUB = ("--hub", "127.0.0.1:9/istio")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample source, as a checkout."""
    directory = tmp_path_factory.mktemp("tree") / "mini-istio"
    subprocess.run([ROOT / "examples" / "make-source", directory], check=True)
    return directory


def fail(*arguments: str | Path, code: int, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run what must fail with this code; gives what it told the user. Stdout stays empty, and there is no traceback."""
    ended: Ended = istio_build(*arguments, env=env, cwd=cwd)
    assert ended.code == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_no_hub(tree: Path) -> None:
    told = fail("push", "--source", tree, code=2)
    assert "no hub" in told
    assert "ISTIO_BUILD_HUB" in told


@pytest.mark.parametrize(
    ("hub", "told"),
    [
        ("https://docker.io/me", "must not have a scheme"),
        ("me", "Did you mean docker.io/me?"),
        ("docker.io/Me", "lower-case"),
        ("docker.io/me:1.29", "must not have a tag"),
    ],
)
def test_a_malformed_hub(tree: Path, hub: str, told: str) -> None:
    assert told in fail("push", "--source", tree, "--hub", hub, code=2)


def test_a_malformed_tag(tree: Path) -> None:
    assert "tag '1.29/0' is malformed" in fail("push", "--source", tree, *HUB, "--tag", "1.29/0", code=2)


def test_an_unknown_image_names_the_nearest(tree: Path) -> None:
    told = fail("push", "--source", tree, *HUB, "--image", "proxy", code=2)
    assert "Did you mean proxyv2?" in told


def test_a_platform_that_istio_does_not_support(tree: Path) -> None:
    told = fail("push", "--source", tree, *HUB, "--platform", "linux/arm/v7", code=2)
    assert "'linux/arm/v7' is not one that Istio supports" in told
    assert "linux/amd64 and linux/arm64" in told


def test_an_architecture_alone_is_told_with_what_was_meant(tree: Path) -> None:
    assert "Did you mean linux/arm64?" in fail("push", "--source", tree, *HUB, "--platform", "arm64", code=2)


def test_a_variable_with_a_slip_in_it_is_told(tmp_path: Path) -> None:
    env = {"ISTIO_BUILD_CACHE": str(tmp_path), "ISTIO_BUILD_PLATFORMS": "linux/arm64"}
    ended = istio_build("plan", "--source", tmp_path / "nowhere", *HUB, env=env)
    assert ended.code == 4
    assert "ISTIO_BUILD_PLATFORMS means nothing to istio-build; did you mean ISTIO_BUILD_PLATFORM?" in ended.stderr


def test_no_source_at_all(tmp_path: Path) -> None:
    assert "Give --istio 1.29.0" in fail("push", *HUB, code=2, cwd=tmp_path)


def test_a_source_that_is_not_istio(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example.org/other\n\ngo 1.22\n")
    told = fail("push", "--source", tmp_path, *HUB, code=4)
    assert "is not Istio's source: its go.mod says module example.org/other" in told


@pytest.mark.parametrize("name", ["istio.deps", "Makefile.core.mk", "go.mod"])
def test_a_source_that_lacks_a_file(tree: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", tree, copy], check=True)
    (copy / name).unlink()
    assert f"cannot read {copy / name}" in fail("push", "--source", copy, *HUB, code=4)


def test_a_source_that_lacks_a_file_of_an_image_is_told_before_anything_is_built(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", tree, copy], check=True)
    missing = copy / "tools/packaging/common/envoy_bootstrap.json"
    missing.unlink()
    told = fail("plan", "--source", copy, *HUB, code=4)
    assert f"the source lacks {missing}, which an image needs: proxyv2 ({ROOT / 'recipes/proxyv2.yaml'}:" in told
    assert "leave the image out with --image" in told


def test_a_source_without_git(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", tree, copy], check=True)
    subprocess.run(["rm", "-rf", copy / ".git"], check=True)
    assert "is not a git checkout" in fail("push", "--source", copy, *HUB, code=4)


def test_a_release_that_does_not_exist_names_near_ones(tree: Path, tmp_path: Path) -> None:
    arguments = ("push", "--istio", "1.29.1", "--git-url", tree.as_uri(), *HUB)
    told = fail(*arguments, code=4, env={"ISTIO_BUILD_CACHE": str(tmp_path)})
    assert "there is no release 1.29.1" in told
    assert "Nearest tags: 1.29.0" in told


def test_both_a_source_and_a_release(tree: Path) -> None:
    assert "Give --source or --istio" in fail("push", "--source", tree, "--istio", "1.29.0", *HUB, code=2)


def test_an_unknown_key_of_the_project_file_names_file_line_and_nearest(tmp_path: Path) -> None:
    (tmp_path / "istio-build.yaml").write_text("hub: docker.io/me\nimages: [pilot]\n")
    told = fail("plan", code=3, cwd=tmp_path)
    assert "istio-build.yaml:2: unknown key 'images'; did you mean 'image'?" in told


def test_an_unknown_key_of_a_recipe_names_file_line_and_nearest(tree: Path, tmp_path: Path) -> None:
    recipe = (ROOT / "examples/recipes/echo.yaml").read_text().replace("entrypoint:", "entripoint:")
    (tmp_path / "echo.yaml").write_text(recipe)
    line = recipe.splitlines().index("entripoint: [/usr/local/bin/echo]") + 1
    told = fail("plan", "--source", tree, *HUB, "--recipes", tmp_path, code=3)
    assert f"echo.yaml:{line}: unknown key 'entripoint'; did you mean 'entrypoint'?" in told


def test_from_a_directory_without_layouts(tmp_path: Path) -> None:
    assert "holds no image layouts" in fail("push", "--from", tmp_path, code=2)


def test_from_takes_nothing_that_would_be_built(tmp_path: Path) -> None:
    told = fail("push", "--from", tmp_path, "--envoy-url", "http://127.0.0.1:9", code=2)
    assert "--envoy-url cannot be used with it" in told


@pytest.mark.parametrize("shard", ["3/2", "2", "0/1"])
def test_a_shard_that_there_is_not(tree: Path, shard: str) -> None:
    for command in ("build", "plan"):
        assert f"--shard {shard}: there is no such part" in fail(command, "--source", tree, *HUB, "--shard", shard, code=2)


def test_what_does_not_go_with_shards(tree: Path) -> None:
    assert "--load cannot be used with --shard" in fail("build", "--load", "linux/amd64", "--shard", "1/2", code=2)
    assert "--shards is for --output-format matrix" in fail("plan", "--source", tree, *HUB, "--shards", "2", code=2)
    matrix = ("plan", "--source", tree, *HUB, "--output-format", "matrix")
    assert "a matrix is of all shards" in fail(*matrix, "--shard", "1/2", code=2)


def test_what_does_not_go_with_a_look_at_the_hub(tree: Path) -> None:
    plan = ("plan", "--source", tree, *HUB, "--against-hub")
    assert "--output-format bake has no place for what hubs hold" in fail(*plan, "--output-format", "bake", code=2)
    assert "--shard cannot be used with it" in fail(*plan, "--shard", "1/2", code=2)


def test_an_empty_tag_is_not_the_default_one(tree: Path) -> None:
    assert "--tag is given, but empty" in fail("push", "--source", tree, *HUB, "--tag", "", code=2)


def test_a_password_in_a_malformed_flag_is_not_printed(tree: Path) -> None:
    told = fail("push", "--source", tree, *HUB, "--envoy", "https://user:secret@mirror.example/envoy", code=2)
    assert "secret" not in told


def test_a_cache_that_cannot_be_written_to(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = {"ISTIO_BUILD_CACHE": str(tmp_path / "file")}
    told = fail("push", "--istio", "1.29.0", "--git-url", tree.as_uri(), *HUB, code=1, env=cache)
    assert str(tmp_path / "file") in told


def test_an_unknown_flag_is_a_usage_error() -> None:
    assert "No such option" in fail("push", "--hubs", "x", code=2)


def test_schema_is_json_schema() -> None:
    for arguments in (["schema"], ["schema", "--project"]):
        ended = istio_build(*arguments)
        assert ended.code == 0
        assert json.loads(ended.stdout)


def test_help_names_every_command() -> None:
    told = istio_build("--help").stdout
    assert re.findall(r"^  ([a-z]+) ", told.partition("Commands:")[2], re.MULTILINE) == sorted(cli.commands)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("plan", "--istio", "1.29.0", "--hub", "not a hub"), 2, "not a hub"),
        (("plan", "--no-such-option"), 2, "No such option '--no-such-option'"),
        (("plan", "--source", "/nonexistent", *HUB), 4, "/nonexistent"),
    ],
)
def test_json_lines_go_on_to_the_very_end(words: tuple[str, ...], code: int, said: str) -> None:
    ended = istio_build(*words, "--progress", "json")
    *before, last = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ended.code == last["exit_code"] == code
    assert (last["v"], last["event"]) == (1, "error")
    assert said in last["message"]
    assert all(datetime.fromisoformat(event["time"]).tzinfo for event in [*before, last])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nothing to verify"),
        (("--hub", "docker.io/me"), "which release should the hub hold?"),
        (("--hub", "docker.io/me", "--istio", "1.29.0", "--image", "pilto"), "Did you mean pilot?"),
        (("docker.io/Me/pilot",), "is not an image reference"),
        (("--hub", "docker.io/me", "--istio", "1.2.0"), "older than the oldest release"),
    ],
)
def test_what_verify_cannot_do(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    code = 4 if "oldest" in told else 2
    assert told in fail("verify", *arguments, code=code, cwd=tmp_path)


def test_verify_asks_the_hub_of_the_project_file_and_tells_that_it_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "istio-build.yaml").write_text("hub: 127.0.0.1:9/istio\nistio: 1.29.0\nimage: pilot\n")
    ended = istio_build("verify", "--timeout", "2", "--compare-with", "none", "--format", "json", cwd=tmp_path)
    assert ended.code == 13, ended.stderr
    document = json.loads(ended.stdout)
    assert document["summary"] == {"images": 3, "platforms": 0, "faults": 0, "warnings": 0, "unreadable": 3}
    assert document["images"][0]["references"] == ["127.0.0.1:9/istio/pilot:1.29.0"]
