"""What pages show is run: every command of each, in its order, on a reader's desk, against a registry of this machine."""

import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import ROOT
from tests.real.page_desk import Desk, Parts, make_desk
from tests.samples.pages import PAGES, blocks_in, command_lines

PROJECT = "hub: registry.corp.example/istio\nistio: 1.29.0\n"
# One image is enough to see that a command does what it says; that all of them come out right is what other tests are for.
ONE_IMAGE = {"ISTIO_BUILD_ENGINE": "builtin", "ISTIO_BUILD_IMAGE": "istioctl"}
TO_STAGE = "istio-build push --hub registry.corp.example/stage --istio 1.29.0"
TO_ME = "istio-build push --hub docker.io/me --istio 1.29.0"
TO_HUB = "istio-build push --hub registry.corp.example/istio --istio 1.29.0"
# What `pip install` reads of one.
CHECKOUT = f"cp -r {ROOT}/{{pyproject.toml,README.md,LICENSE,builder,recipes,dockerfiles,schedules}} ."
A_PATCH = (
    "git clone --quiet ../istio changed",
    "echo '// changed' >> changed/pkg/version/version.go",
    "git -C changed diff > cve.patch",
    "git -C changed -c user.name=me -c user.email=me@corp.example commit --quiet --all --message changed",
    "echo other >> changed/VERSION.md && git -C changed add VERSION.md && git -C changed diff --cached > branding.patch",
    "mkdir fixes && cp cve.patch branding.patch fixes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What a reader of a page has done `before`, and has: the project file, and variables.

    `alone` are pages that need hubs which no other page has pushed to. A project file "" is the first that the page shows.
    Where commands would compile all of Go anew, something of the same settings is typed `instead`. `shown_before` are the
    beginnings of commands that take long and that another page shows, too.
    """

    before: tuple[str, ...] = ()
    project: str = PROJECT
    settings: dict[str, str] = field(default_factory=lambda: ONE_IMAGE)
    alone: bool = False
    instead: tuple[str, str] = ("istio-build", "istio-build")
    shown_before: tuple[str, ...] = ()


READERS = {
    "README": Reader(
        before=(
            CHECKOUT,
            "examples/make-source mini-istio",
            TO_ME,
            f"{TO_ME} --compression zstd",
            f"{TO_ME} --tag 1.29.0-rc.1",
        ),
        alone=True,
    ),
    "air-gap": Reader(
        before=("istio-build push --hub registry.outside.example/istio --istio 1.29.0", 'mkdir -p istioctl "$HOME/go/pkg/mod"'),
        shown_before=("istio-build archives",),
    ),
    "doctor": Reader(before=("cp istio-build.yaml nightly.yaml",)),
    "explain": Reader(before=("cp -r examples/recipes my-recipes",), settings={}),
    "first-push": Reader(settings={"ISTIO_BUILD_ENGINE": "builtin"}, shown_before=("pip install",)),
    "go": Reader(instead=("istio-build push ", "istio-build plan ")),
    # Those of the other systems are compiled by tests/engine/test_archives_job.py.
    "install": Reader(before=(TO_HUB,), instead=("istio-build archives ", "istio-build archives --target linux-amd64 ")),
    "lock": Reader(settings={**ONE_IMAGE, "ISTIO_BUILD_IMAGE": "proxyv2"}),
    "nightly": Reader(before=("cp istio-build.yaml /srv/istio",)),
    "one-platform": Reader(settings={"ISTIO_BUILD_IMAGE": "istioctl"}, alone=True),
    "parity": Reader(
        before=(
            f"{TO_HUB} --image pilot",
            "istio-build promote --image pilot --from registry.corp.example/istio:1.29.0 --hub docker.io/istio",
        )
    ),
    "patches": Reader(before=A_PATCH),
    "performance": Reader(before=(f"cp {ROOT / 'docs/bench.json'} .",)),
    "promote": Reader(before=(TO_STAGE, f"{TO_STAGE} --tag 1.29.0-rc.1")),
    "recipes": Reader(settings={"ISTIO_BUILD_ENGINE": "builtin"}),
    "releases": Reader(before=(TO_STAGE,)),
    "report": Reader(settings={**ONE_IMAGE, "SLACK_URL": "json://127.0.0.1:9/"}),
    "retain": Reader(before=("istio-build push",), project=""),
    "rollback": Reader(before=(TO_STAGE, f"{TO_STAGE} --compression zstd")),
    "shards": Reader(settings={"ISTIO_BUILD_ENGINE": "builtin"}),
    "tags": Reader(alone=True),
    "verify": Reader(before=(TO_ME,)),
    "when-it-fails": Reader(before=(TO_HUB,)),
    "why": Reader(before=(TO_ME,)),
}
# By how a command begins, and why it is not run here.
NOT_RUN = {
    "./istioctl install": "it installs into a cluster",
    "istioctl install": "it installs into a cluster",
    "helm install": "it installs into a cluster",
    "make ": "CI calls these; `bench` and `parity` are of hours and of Istio's own source",
    "python -m tools.parity --istio": "the same",
    "git clone --branch 1.29.0 https": "Istio's own source",
    "docker buildx create": "nodes of another network; tests/engine/test_nodes.py has two on this machine",
    "istio-build push --builder farm": "the same",
    "docker buildx imagetools inspect --raw": "there only while tags move; tests/process/test_interruption.py reads it",
    "crane ": "the same",
    "mkdir -p cache": "for the next",
    "docker run --rm --read-only": "tests/engine/test_own_image.py makes this image and runs it so",
    'eval "$(istio-build completion zsh': "tests/process/test_completion.py, where there is a zsh",
    "istio-build init": "it asks; tests/process/test_init.py answers",
    "istio-build push --istio 1.29.0 --hub registry.corp.example/istio --image bases": "tests/engine/test_rootfs_job.py does",
    "istio-build push --istio 1.29.0 --hub registry.corp.example/istio --base-registry": "the same",
    "istio-build push --compile-in": "tests/engine/test_compile_in.py has an image with Go",
    "go version -m": "what it reads comes out of an image",
    "istio-build push --go-env GOEXPERIMENT=boringcrypto": "needs two C compilers; tests/process/test_go.py has one",
    "istio-build push --hub registry.corp.example/istio --istio 1.29.0 --image core,mesh": "the sample tree has no CNI",
}
COMMANDS = {
    page.stem: lines
    for page in PAGES
    if (lines := [line for block in blocks_in(page.read_text()) if block.language != "yaml" for _, line in command_lines(block)])
}


@pytest.fixture(scope="module")
def desk(registry: str, bases: str, small_envoy_url: str, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    root = tmp_path_factory.mktemp("desk") / uuid.uuid4().hex[:8]
    root.mkdir()
    return make_desk(root, Parts(registry, bases, small_envoy_url))


def reason_not_to_run(line: str) -> str:
    return next((why for begin, why in NOT_RUN.items() if line.startswith(begin)), "")


@pytest.mark.parametrize("page", [page for page, lines in COMMANDS.items() if not all(map(reason_not_to_run, lines))])
def test_all_that_a_page_shows_does_what_it_is_for(page: str, desk: Desk) -> None:
    reader = READERS.get(page, Reader())
    hubs = page.lower() if reader.alone else "all"
    where = desk.directory(page, reader.project or project_of(page), hubs)
    shown = [line for line in COMMANDS[page] if not (reason_not_to_run(line) or line.startswith(reader.shown_before))]
    for line in (*reader.before, *shown):
        typed = desk.words(line.replace(*reader.instead), page, hubs)
        ended = desk.type(typed, where, reader.settings)
        assert ended.code == 0, f"{line}\n{typed}\n{ended.stdout}{ended.stderr}"


def project_of(page: str) -> str:
    """The first project file that a page shows."""
    text = next(path for path in PAGES if path.stem == page).read_text()
    return next(block.text for block in blocks_in(text) if block.language == "yaml")


def test_each_reason_not_to_run_something_is_for_something_that_is_shown() -> None:
    shown = [line for lines in COMMANDS.values() for line in lines]
    assert [begin for begin in NOT_RUN if not any(line.startswith(begin) for line in shown)] == []
    named = {path for why in NOT_RUN.values() for path in re.findall(r"tests/[\w/.]+\.py", why)}
    assert [path for path in named if not Path(ROOT, path).is_file()] == []
