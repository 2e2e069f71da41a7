"""`istio-build init` as somebody uses it who has no project file yet: with flags, or asked on a terminal."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from builder.config.project_file import read_project
from builder.config.settings import make_job
from tests.real.program import environment, istio_build
from tests.real.terminal import run_on_terminal

FILE = "istio-build.yaml"


def asked(directory: Path, answers: Sequence[str], *words: str) -> tuple[int, str]:
    """Run it on a terminal, with these lines typed; gives its exit code, and what the terminal showed."""
    return run_on_terminal("init", *words, env=environment(), cwd=directory, typed="".join(f"{answer}\n" for answer in answers))


def test_flags_are_written_down(tmp_path: Path) -> None:
    ended = istio_build(
        *("init", "--hub", "docker.io/me", "--istio", "1.29,1.28", "--moving-tags", "{{ line }}", "--no-clobber"),
        *("--go-env", "GOFIPS140=v1.0.0"),
        cwd=tmp_path,
        env={"ISTIO_BUILD_TAG": "from-a-variable"},
    )
    assert ended.code == 0, ended.stderr
    assert ended.stdout == f"{FILE}\n"
    written = read_project(tmp_path / FILE)
    assert written.data == {
        "hub": "docker.io/me",
        "no_clobber": True,
        "moving_tags": "{{ line }}",
        "istio": ["1.29", "1.28"],
        "go_env": {"GOFIPS140": "v1.0.0"},
    }
    assert [str(hub) for hub in make_job({}, written).request.hubs] == ["docker.io/me"]


def test_a_file_that_is_there_stays_without_force(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("hub: docker.io/mine\n")
    ended = istio_build("init", "--hub", "docker.io/me", cwd=tmp_path)
    assert ended.code == 2
    assert "--force" in ended.stderr
    assert (tmp_path / FILE).read_text() == "hub: docker.io/mine\n"
    assert istio_build("init", "--hub", "docker.io/me", "--force", cwd=tmp_path).code == 0
    assert yaml.safe_load((tmp_path / FILE).read_text()) == {"hub": "docker.io/me"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no terminal to ask on"),
        (("--hub", "me"), "Did you mean docker.io/me?"),
        (("--envoy-url", "https://me:s3cret@mirror.corp.example/proxy"), "ISTIO_BUILD_ENVOY_URL"),
        (("--envoy", "linux/arm64=https://mirror.corp.example/proxy?sig=s3cret"), "ISTIO_BUILD_ENVOY"),
        (("--notify", "slack://s3cret"), "$NAME"),
        (("--istio", "1.29", "--source", "."), "not both"),
    ],
)
def test_what_no_job_would_take_is_not_written(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    ended = istio_build("init", *words, cwd=tmp_path)
    assert ended.code == 2
    assert told in ended.stderr
    assert "s3cret" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_asks_and_asks_again(tmp_path: Path) -> None:
    code, shown = asked(tmp_path, ["docker.io/Me", "docker.io/me", "supported", "core, mesh", "{{ line }}, latest"])
    assert code == 0, shown
    assert "lower-case" in shown
    written = read_project(tmp_path / FILE)
    assert written.data == {
        "hub": "docker.io/me",
        "istio": "supported",
        "image": ["core", "mesh"],
        "moving_tags": ["{{ line }}", "latest"],
    }
    assert make_job({}, written).source.may_be_several


def test_enter_takes_what_most_jobs_need(tmp_path: Path) -> None:
    code, shown = asked(tmp_path, ["docker.io/me", "", "", ""])
    assert code == 0, shown
    assert read_project(tmp_path / FILE).data == {"hub": "docker.io/me", "istio": "latest", "image": "core"}


def test_an_end_of_input_writes_nothing(tmp_path: Path) -> None:
    code, shown = asked(tmp_path, ["docker.io/me", "\x04"])
    assert code == 130, shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []
