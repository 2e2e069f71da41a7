"""Compiling in an image: how BuildKit is told, that no credential is left behind, and the programs that come out."""

import json
from pathlib import Path

import pytest

from builder.engine.buildx import Buildx
from builder.engine.container_compiler import ContainerCompiler
from builder.errors import AssembleError, BaseImageError
from builder.oci.manifest import CONFIG, MANIFEST, Descriptor, Manifest, compose_index
from builder.oci.reference import Digest, ImageReference, Platform
from builder.plan.compile import COMPILE_TEMPLATE
from builder.plan.lock import LockedGo
from builder.plan.planner import make_plan
from builder.ports import Completed, GoBuild, ProcessFailed
from builder.recipe.template import render_dockerfile
from builder.resolve.toolchain_image import lock_compile_image
from builder.runtime.retry import RetryPolicy
from tests.fakes.registry import FakeRegistry
from tests.fakes.runner import Call, FakeRunner
from tests.samples.images import AMD64, config_json, make_config, make_digest
from tests.samples.plans import change_template, load_book, make_lock, make_request, make_sample_plan

BOOK = load_book()


IMAGE = ImageReference.parse(f"registry.corp.example/golang:1.26@{make_digest('golang')}")


STEP = make_sample_plan().compiles[0]


def render(env: tuple[tuple[str, str], ...], command: tuple[str, ...]) -> str:
    return render_dockerfile(dict(BOOK.templates), COMPILE_TEMPLATE, {"base": str(IMAGE), "env": env, "command": command})


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    plugin = tmp_path / "docker" / "cli-plugins" / "docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.touch(mode=0o755)
    (tmp_path / ".netrc").write_text("machine proxy.corp.example login me password hunter2\n")
    proxy = "http://me:hunter2@proxy.corp.example:3128"
    return {"DOCKER_CONFIG": str(tmp_path / "docker"), "PATH": "", "HOME": str(tmp_path), "HTTPS_PROXY": proxy}


def buildx(failure: str = "") -> FakeRunner:
    def answer(call: Call) -> Completed:
        if call.argv[1] == "bake" and failure:
            raise ProcessFailed(call.argv, 1, "", failure)
        return Completed(stdout="v0.29.1" if call.argv[1] == "version" else "Driver: docker\n", stderr="")

    return FakeRunner(answer)


def compile_in(tmp_path: Path, environment: dict[str, str], runner: FakeRunner) -> Path:
    """Compile with these settings of the owner; gives the directory of the Dockerfile."""
    settings = (("GOMODCACHE", "/root/go/pkg/mod"), ("GOPROXY", "https://me:hunter2@proxy.corp.example,direct"))
    into = tmp_path / "programs" / "standard"
    engine = Buildx(runner, environment, lambda: None, RetryPolicy(sleep=lambda _: None))
    compiler = ContainerCompiler(render, settings, environment, engine)
    build = GoBuild(command=STEP.command, env=STEP.env, platform=STEP.platform, tree=Path("/src/${x}"), into=into)
    compiler.build(build, lambda line: None)
    return into.with_name("standard.image")


class TestTheBuild:
    def test_is_the_plans_own_command_and_environment(self, tmp_path: Path, environment: dict[str, str]) -> None:
        dockerfile = (compile_in(tmp_path, environment, buildx()) / "Dockerfile").read_text()
        command = dockerfile[dockerfile.index('["go"') : dockerfile.index("]\n") + 1]
        assert json.loads(command) == [
            "go",
            "build",
            "-o",
            "/istio-build/programs/",
            *STEP.command.options,
            *STEP.command.packages,
        ]
        # GOENV is off on a machine; here it is the file in which the owner's settings of modules come.
        for name, value in dict(STEP.env).items() - {("GOENV", "off")}:
            assert f'ENV {name}="{value}"\n' in dockerfile
        assert f"FROM --platform=$BUILDPLATFORM {IMAGE} AS compile\n" in dockerfile

    def test_takes_the_tree_as_it_is_and_gives_files(self, tmp_path: Path, environment: dict[str, str]) -> None:
        runner = buildx()
        folder = compile_in(tmp_path, environment, runner)
        [target] = json.loads(runner.calls[-1].stdin)["target"].values()
        assert target["context"] == "/src/$${x}"
        assert target["dockerfile"] == str(folder / "Dockerfile")
        assert target["platforms"] == [str(STEP.platform)]
        assert target["output"] == [f"type=local,dest={tmp_path / 'programs' / 'standard'}"]
        # The tree's own .dockerignore is meant for other builds.
        assert (folder / "Dockerfile.dockerignore").read_text() == ".git\n"

    def test_leaves_no_credential_on_disk_or_in_the_dockerfile(self, tmp_path: Path, environment: dict[str, str]) -> None:
        runner = buildx()
        folder = compile_in(tmp_path, environment, runner)
        assert all("hunter2" not in path.read_text() for path in folder.iterdir())
        [call] = [call for call in runner.calls if call.argv[1] == "bake"]
        [target] = json.loads(call.stdin)["target"].values()
        assert target["secret"] == ["id=goenv,env=ISTIO_BUILD_GOENV", f"id=netrc,src={tmp_path / '.netrc'}"]
        # BuildKit keeps its own proxy arguments out of keys and histories.
        assert target["args"] == {"HTTPS_PROXY": environment["HTTPS_PROXY"]}
        assert call.env["ISTIO_BUILD_GOENV"] == "GOPROXY=https://me:hunter2@proxy.corp.example,direct\n"

    def test_that_fails_is_gos_failure(self, tmp_path: Path, environment: dict[str, str]) -> None:
        cause = 'ERROR: failed to solve: process "go build" did not complete successfully: exit code: 137'
        with pytest.raises(ProcessFailed) as raised:
            compile_in(tmp_path, environment, buildx(cause))
        assert (raised.value.argv[0], raised.value.returncode) == ("go", 137)

    def test_that_never_ran_is_the_engines(self, tmp_path: Path, environment: dict[str, str]) -> None:
        with pytest.raises(AssembleError, match="something else"):
            compile_in(tmp_path, environment, buildx("ERROR: something else"))


class TestTheImage:
    def registry(self, **changes: object) -> FakeRegistry:
        registry = FakeRegistry()
        repository = IMAGE.repository
        content = config_json(make_config(AMD64, **changes), [])
        config = Descriptor(media_type=CONFIG, digest=Digest.of(content), size=len(content))
        registry.blobs[repository][config.digest] = content
        manifest = Manifest(media_type=MANIFEST, content=json.dumps({"config": config.to_json(), "layers": []}).encode())
        registry.manifests[repository][str(manifest.digest)] = manifest
        child = Descriptor(media_type=MANIFEST, digest=manifest.digest, size=len(manifest.content), platform=AMD64)
        attestation = Descriptor(media_type=MANIFEST, digest=make_digest("a"), size=1, platform=Platform("unknown", "unknown"))
        registry.manifests[repository]["1.26"] = compose_index((attestation, child), {})
        return registry

    def test_is_bound_to_its_digest_and_tells_its_go(self) -> None:
        registry = self.registry(env=(("GOLANG_VERSION", "1.26.8"),))
        digest = registry.manifests[IMAGE.repository]["1.26"].digest
        found = lock_compile_image("registry.corp.example/golang:1.26", registry)
        pinned = f"registry.corp.example/golang:1.26@{digest}"
        assert (found.version, str(found.image), found.reason) == ("1.26.8", pinned, f"GOLANG_VERSION of {pinned}")

    def test_may_not_tell_its_go(self) -> None:
        found = lock_compile_image("registry.corp.example/golang:1.26", self.registry())
        assert (found.version, found.reason) == ("", f"Go of {found.image}")

    def test_that_does_not_exist_is_told(self) -> None:
        with pytest.raises(BaseImageError, match=r"the image to compile in, registry\.corp\.example/golang:2, does not exist"):
            lock_compile_image("registry.corp.example/golang:2", self.registry())


class TestThePlan:
    LOCK = make_lock(go=LockedGo(version="", reason=f"Go of {IMAGE}", image=IMAGE))

    def test_takes_any_go_that_the_image_does_not_tell(self) -> None:
        plan = make_plan(make_request(), BOOK, self.LOCK)
        assert (plan.go_version, plan.compile_image) == ("", str(IMAGE))

    def test_has_fingerprints_of_the_images_digest_and_of_the_template(self) -> None:
        other = self.LOCK.go.image.repository.at(make_digest("another")) if self.LOCK.go.image else None
        prints = {
            make_plan(make_request(), book, lock).images[0].fingerprint
            for book, lock in [
                (BOOK, make_lock()),
                (BOOK, self.LOCK),
                (BOOK, make_lock(go=LockedGo(version="", image=other))),
                (change_template(BOOK, COMPILE_TEMPLATE, "# more"), self.LOCK),
            ]
        }
        assert len(prints) == 4
        same = make_lock(go=LockedGo(version="", image=ImageReference.parse(f"mirror.corp.example/go@{IMAGE.digest}")))
        assert make_plan(make_request(), BOOK, same).images[0].fingerprint in prints
