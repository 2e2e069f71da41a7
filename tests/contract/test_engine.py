"""The contract of `ports.Engine`, on the fake that other tests lean on and on buildx with a real Docker engine."""

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from builder.engine.buildx import Buildx
from builder.engine.builtin import Builtin
from builder.engine.docker import DockerEngine
from builder.errors import BaseImageError
from builder.host.process import SubprocessRunner
from builder.images.check import read_layer_of
from builder.oci.image_config import DEFAULT_PATH, AddedConfig, BaseImage
from builder.oci.layout import Layout
from builder.oci.manifest import ImageConfig
from builder.oci.reference import ImageReference, Platform
from builder.plan.model import FilesLayer
from builder.ports import AssemblyTarget, Engine
from builder.recipe.template import render_dockerfile
from builder.registry.client import HttpRegistry
from builder.runtime.cancellation import Cancellation
from builder.runtime.retry import RetryPolicy
from tests.fakes.engine import FakeEngine
from tests.samples.images import (
    AMD64,
    ARM64,
    BASE_LAYER,
    COMMITTED_AT,
    SampleFile,
    add_image,
    base_layers,
    make_config,
    make_digest,
    make_tar,
    write_image_index,
)
from tests.samples.plans import load_book
from tests.samples.seeding import seed

# Says all that a target's values can say, and nothing else.
TEMPLATE = """\
{% import "_parts.j2" as parts %}
FROM {{ image.base }}
{{ parts.layers(image) -}}
{{ parts.env(image) -}}
{{ parts.labels(image) -}}
{% if image.user %}
USER {{ image.user }}
{% endif %}
{% if image.working_dir %}
WORKDIR {{ image.working_dir }}
{% endif %}
{% if image.entrypoint %}
ENTRYPOINT {{ image.entrypoint | exec_form }}
{% endif %}
{% if image.command %}
CMD {{ image.command | exec_form }}
{% endif %}
"""
ONE = SampleFile(path="/opt/one", content=b"1", mode=0o755, uid=7, gid=8, mtime=1_000_000_000)
TWO = SampleFile(path="/opt/two", content=b"2", mode=0o640)
RUN_AS = AddedConfig(
    user="1337:1337",
    entrypoint=("/opt/one", "a b"),
    command=("--more", '"$HOME"'),
    working_dir="/opt",
    env=(("PATH", "/opt:/bin"), ("ADDED", "1")),
    labels=(("org.opencontainers.image.title", "sample"),),
)
ODD = r"""it's "quoted" \ $HOME ${HOME:-x} $$ %{x} #1 `y` é\n"""


@dataclass(frozen=True)
class Subject:
    """An engine under test, and a base image of the samples where it finds it."""

    engine: Engine
    base: BaseImage


MakeSubject = Callable[..., Subject]


@pytest.fixture(params=["fake", "builtin", pytest.param("buildx", marks=pytest.mark.engine)])
def make_subject(request: pytest.FixtureRequest, tmp_path: Path) -> MakeSubject:
    """Makes the engine, with a base whose configuration has these fields changed."""

    def local(**changes: Any) -> Subject:  # noqa: ANN401 - fields of the value
        reference = ImageReference.parse("hub.test/base:1").pinned(make_digest("base"))
        base = BaseImage(reference=reference, config=make_config(AMD64, **changes), layers=base_layers())
        return Subject(Builtin() if request.param == "builtin" else FakeEngine(has_base=reference.__eq__), base)

    def buildx(**changes: Any) -> Subject:  # noqa: ANN401 - fields of the value
        host = request.getfixturevalue("registry")
        reference = ImageReference.parse(f"{host}/contract-{uuid.uuid4().hex[:8]}/base:1")
        layout = Layout(tmp_path / "base")
        images = {platform: add_image(layout, make_config(platform, **changes), [BASE_LAYER]) for platform in (AMD64, ARM64)}
        registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(attempts=1, sleep=time.sleep))
        pushed = seed(registry, write_image_index(layout.root, images), reference)
        environment = dict(os.environ)
        engine = Buildx(
            SubprocessRunner(Cancellation()),
            environment,
            DockerEngine(environment).check,
            RetryPolicy(attempts=1, sleep=time.sleep),
        )
        base = BaseImage(reference=reference.pinned(pushed.digest), config=make_config(AMD64, **changes), layers=base_layers())
        return Subject(engine, base)

    return buildx if request.param == "buildx" else local


@pytest.fixture
def subject(make_subject: MakeSubject) -> Subject:
    return make_subject()


def aim(root: Path, base: BaseImage | None, config: AddedConfig = RUN_AS, name: str = "x") -> AssemblyTarget:
    """A target below this directory with a layer for each of the files, and its Dockerfile."""
    context = root / "context"
    context.mkdir(exist_ok=True)
    layers = tuple(FilesLayer(archive=f"{number}.tar", files=()) for number in (1, 2))
    for layer, file in zip(layers, (ONE, TWO), strict=True):
        (context / layer.archive).write_bytes(make_tar([file]))
    values = {field: getattr(config, field) for field in AddedConfig.__slots__}
    templates = {**dict(load_book().templates), "all.j2": TEMPLATE}
    return AssemblyTarget(
        name=name,
        platform=AMD64,
        base=base,
        layers=tuple(layer.archive for layer in layers),
        config=config,
        dockerfile=render_dockerfile(
            templates, "all.j2", {"base": base.reference if base else "scratch", "layers": layers, **values}
        ),
        context=context,
        destination=root / "out" / name,
        source_date_epoch=COMMITTED_AT,
    )


def assemble(subject: Subject, *targets: AssemblyTarget) -> list[Layout]:
    for target in targets:
        target.destination.mkdir(parents=True)
    subject.engine.assemble(targets, lambda text: None)
    return [Layout(target.destination) for target in targets]


def config_of(layout: Layout) -> ImageConfig:
    """What the image says; builders may leave out that the root is the working directory, and which layers there are."""
    config = ImageConfig.parse(layout.read(layout.index().config()))
    others = tuple(pair for pair in config.others if pair[0] != "ArgsEscaped")
    return replace(
        config, working_dir=config.working_dir or "/", others=others, env=tuple(sorted(config.env)), diff_ids=(), history=()
    )


def files_of(layout: Layout, base_layers: int) -> list[tuple[str, str, str, int]]:
    """Each file of the layers on top of the base: its path, mode, owner and time, in this order."""
    own = layout.index().layers()[base_layers:]
    entries = [entry for layer in own for entry in read_layer_of(layout, layer)]
    return [(entry.path, entry.mode, entry.owner, entry.mtime) for entry in entries if entry.kind == "file"]


FILES = [("/opt/one", "0755", "7:8", 1_000_000_000), ("/opt/two", "0640", "0:0", COMMITTED_AT)]


def test_an_image_is_its_base_with_these_layers_and_run_like_this(subject: Subject, tmp_path: Path) -> None:
    [layout] = assemble(subject, aim(tmp_path, subject.base))
    assert config_of(layout) == ImageConfig(
        platform=AMD64,
        user="1337:1337",
        entrypoint=("/opt/one", "a b"),
        command=("--more", '"$HOME"'),
        working_dir="/opt",
        env=(("ADDED", "1"), ("PATH", "/opt:/bin")),
        labels=(("org.opencontainers.image.ref.name", "ubuntu"), ("org.opencontainers.image.title", "sample")),
    )
    assert layout.index().layers()[:1] == base_layers()
    assert files_of(layout, 1) == FILES


def test_what_is_left_open_is_the_bases(make_subject: MakeSubject, tmp_path: Path) -> None:
    said = {"user": "5", "entrypoint": ("/bin/base",), "command": ("run",), "working_dir": "/etc"}
    subject = make_subject(**said)
    [layout] = assemble(subject, aim(tmp_path, subject.base, config=AddedConfig()))
    assert config_of(layout) == replace(make_config(AMD64, **said), diff_ids=())


def test_an_image_has_a_path_whether_its_base_has_one_or_not(make_subject: MakeSubject, tmp_path: Path) -> None:
    """As of crane, apko, and bases that are scratch but for a file."""
    subject = make_subject(env=(("BASE", "1"),))
    added = AddedConfig(env=(("ADDED", "1"),))
    [layout] = assemble(subject, aim(tmp_path, subject.base, config=added))
    assert config_of(layout).env == (("ADDED", "1"), ("BASE", "1"), ("PATH", DEFAULT_PATH))


def test_so_has_one_that_has_no_base(subject: Subject, tmp_path: Path) -> None:
    [layout] = assemble(subject, aim(tmp_path, None, config=AddedConfig(command=("/opt/one",))))
    assert config_of(layout).env == (("PATH", DEFAULT_PATH),)


def test_an_entrypoint_makes_the_bases_command_void(subject: Subject, tmp_path: Path) -> None:
    [layout] = assemble(subject, aim(tmp_path, subject.base, config=AddedConfig(entrypoint=("/opt/one",))))
    assert (config_of(layout).entrypoint, config_of(layout).command) == (("/opt/one",), ())


def test_what_no_target_says_is_the_bases_but_for_what_it_wants_done_in_builds(make_subject: MakeSubject, tmp_path: Path) -> None:
    kept = (
        ("ExposedPorts", '{"80/tcp":{}}'),
        ("Healthcheck", '{"Test":["CMD","/bin/true"]}'),
        ("Shell", '["/bin/bash","-c"]'),
        ("StopSignal", '"SIGQUIT"'),
        ("Volumes", '{"/data":{}}'),
        ("author", '"me"'),
    )
    subject = make_subject(others=(*kept, ("OnBuild", '["ENV TRIGGERED=1"]')))
    [layout] = assemble(subject, aim(tmp_path, subject.base))
    assert config_of(layout).others == kept


@pytest.mark.parametrize("value", [ODD, "", " ", "a=b", "'", '"', "\\", "$", "${", "%{x}", "\\$"])
def test_values_come_out_as_they_go_in(subject: Subject, tmp_path: Path, value: str) -> None:
    config = AddedConfig(env=(("VALUE", value),), labels=(("label", value),), entrypoint=("/opt/one", value))
    [layout] = assemble(subject, aim(tmp_path, subject.base, config=config))
    found = config_of(layout)
    assert (dict(found.env)["VALUE"], dict(found.labels)["label"], found.entrypoint[1]) == (value, value, value)


def test_an_image_from_scratch_has_nothing_else(subject: Subject, tmp_path: Path) -> None:
    config = AddedConfig(command=("/opt/one",), env=(("PATH", "/opt"),))
    [layout] = assemble(subject, aim(tmp_path, None, config=config))
    assert config_of(layout) == ImageConfig(platform=AMD64, command=("/opt/one",), working_dir="/", env=(("PATH", "/opt"),))
    assert files_of(layout, 0) == FILES


@pytest.mark.parametrize("platform", [AMD64, ARM64])
def test_several_targets_are_each_what_they_say(subject: Subject, tmp_path: Path, platform: Platform) -> None:
    first = aim(tmp_path, subject.base, name="first")
    second = replace(
        aim(tmp_path, subject.base, config=AddedConfig(user="2"), name="second"),
        platform=platform,
        base=replace(subject.base, config=replace(subject.base.config, platform=platform)),
    )
    layouts = assemble(subject, first, second)
    assert [(config_of(layout).user, config_of(layout).platform) for layout in layouts] == [
        ("1337:1337", AMD64),
        ("2", platform),
    ]
    assert [files_of(layout, 1) for layout in layouts] == [FILES, FILES]


def test_a_base_that_is_not_there_is_told(subject: Subject, tmp_path: Path) -> None:
    gone = replace(subject.base, reference=subject.base.reference.repository.at(make_digest("gone")))
    if isinstance(subject.engine, Builtin):
        # It needs nothing of a base but what its target says; the base's layers are fetched by who finishes the image.
        [layout] = assemble(subject, aim(tmp_path, gone))
        assert layout.index().layers()[:1] == gone.layers
        return
    with pytest.raises(BaseImageError, match=f"the engine cannot get a base image: .*{gone.reference.digest}"):
        assemble(subject, aim(tmp_path, gone))
