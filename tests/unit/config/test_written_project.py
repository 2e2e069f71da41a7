"""What `init` writes is a project file, and means what the flags would."""

import dataclasses
from pathlib import Path

import pytest

from builder.config.merged import Given
from builder.config.option import Option
from builder.config.options import OPTIONS, THEMES
from builder.config.project_file import read_project
from builder.config.settings import Job, make_job
from builder.config.written_project import write_project

# One or two good values of each setting whose form is checked; the others take any text.
VALUES: dict[str, tuple[str, ...]] = {
    "hub": ("docker.io/me", "127.0.0.1:5000/istio"),
    "tag": ("{{ release }}-corp", "1.29"),
    "istio": ("1.29", "1.26 to 1.28"),
    "platform": ("linux/arm64",),
    "moving_tags": ("{{ line }}", "latest"),
    "immutable": ("1.*", "[0-9]*"),
    "go": ("1.25.9",),
    "go_flags": ("-gcflags=-S", "-x"),
    "go_env": ("GOFIPS140=v1.0.0", "GOEXPERIMENT=a,b"),
    "envoy": ("linux/arm64=/opt/my envoy", "linux/amd64=https://mirror.corp.example/e#sha256=ab"),
    "ztunnel": ("linux/arm64=zt",),
    "envoy_from": ("url", "image"),
    "ztunnel_from": ("file",),
    "timeout": ("2.5",),
    "retain": ("14",),
    "cache_keep": ("30d",),
    "cache_max_size": ("20GB",),
    "notify": ("$SLACK", "${MAIL}"),
    "variant": ("no", "yes"),
    "image": ("pilot", "true"),
    "builder": ("null",),
    "report": ("reports: a # b",),
    "trace": ("\u00e9\u2028\"\\'\t",),
    "metrics": ("- x",),
    "git_url": ("ssh://git@git.corp.example/istio",),
}


def values_of(option: Option) -> tuple[str, ...]:
    if option.name in VALUES:
        return VALUES[option.name]
    if option.kind == "switch":
        return ("true",)
    if option.choices:
        return (option.choices[-1],)
    return ("a=b:c",) if option.kind == "pairs" else ("1.10",)


def read(directory: Path, text: str) -> Job:
    (directory / "istio-build.yaml").write_text(text, encoding="utf-8")
    return make_job({}, read_project(Path("istio-build.yaml")))


def without_origins(job: Job) -> Job:
    return dataclasses.replace(job, settings=())


@pytest.mark.parametrize("apart", ["source", "istio"])
@pytest.mark.parametrize("without", ["go", "compile_in"])
def test_every_setting_is_read_as_the_flag_is(apart: str, without: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = {option.name: values_of(option) for option in OPTIONS if option.name not in (apart, without)}
    flags = {name: Given(words=each, origin=f"--{name}") for name, each in words.items()}
    assert without_origins(read(tmp_path, write_project(words))) == without_origins(make_job(flags, None))


def test_every_key_has_its_line_and_no_key_counts_that_was_not_given() -> None:
    lines = write_project({"hub": ("docker.io/me",)}).splitlines()
    for option in OPTIONS:
        key = lines.index(f"# {option.help}") + 1
        assert lines[key].startswith("hub: " if option.name == "hub" else f"# {option.name}: "), option.name
    assert [line for line in lines if line and not line.startswith("#")] == ["hub: docker.io/me"]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_sample_without_its_mark_has_the_form_of_the_key(option: Option, tmp_path: Path) -> None:
    text = write_project({}).replace(f"\n# {option.name}: ", f"\n{option.name}: ")
    (tmp_path / "istio-build.yaml").write_text(text, encoding="utf-8")
    assert list(read_project(tmp_path / "istio-build.yaml").data) == [option.name]


def test_the_file_is_grouped_as_help_is() -> None:
    lines = write_project({}).splitlines()
    assert [line for line in lines if line.startswith("# ----")] == [f"# ---- {title}" for title, _ in THEMES]
