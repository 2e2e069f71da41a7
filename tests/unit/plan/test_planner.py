"""What a plan decides, what its fingerprints depend on, and how it is shown."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.cli.plan_view import plan_bake, plan_dockerfiles, plan_json, plan_table
from builder.config.merged import Setting
from builder.config.request import Request
from builder.errors import RecipeError, RequestError, ToolchainError
from builder.oci.reference import Hub, ImageReference, Platform
from builder.plan.lock import AppliedPatch, Lock, LockedGo, SourceFacts
from builder.plan.model import CompiledFile, FilesLayer, Plan
from builder.plan.planner import make_plan
from builder.plan.selection import choose_version
from builder.recipe.book import RecipeBook
from builder.recipe.schema import Binary, TreeFile, Variant
from tests.samples.golden import GOLDEN, check_golden
from tests.samples.images import AMD64, ARM64, make_digest
from tests.samples.plans import (
    COMMIT,
    built_images,
    change_go,
    change_image,
    change_template,
    image_of,
    load_book,
    make_artifact,
    make_base,
    make_lock,
    make_request,
    make_sample_plan,
    make_source,
    make_state,
)

BOOK = load_book()
ALL = frozenset(f"{image}-{variant}" for image in ("istioctl", "pilot", "proxyv2") for variant in ("debug", "distroless"))
SETTINGS = (
    Setting(name="hub", value="registry.corp.example/istio", origin="--hub"),
    Setting(name="source", value=".", origin="the working directory is Istio's source"),
    Setting(name="platform", value="linux/amd64, linux/arm64", origin="default"),
)

Inputs = tuple[Request, RecipeBook, Lock]
Change = Callable[[Request, RecipeBook, Lock], Inputs]


def fingerprints(plan: Plan) -> dict[str, str]:
    return {image.key: image.fingerprint for image in plan.images}


def with_lock(**changes: object) -> Change:
    return lambda request, book, lock: (request, book, replace(lock, **changes))  # type: ignore[arg-type]


def with_request(**changes: object) -> Change:
    return lambda request, book, lock: (replace(request, **changes), book, lock)  # type: ignore[arg-type]


def with_book(change: Callable[[RecipeBook], RecipeBook]) -> Change:
    return lambda request, book, lock: (request, change(book), lock)


def with_bases(*bases: object) -> Change:
    """These bases instead of those of the same name."""

    def change(request: Request, book: RecipeBook, lock: Lock) -> Inputs:
        named = {base.name: base for base in (*lock.bases, *bases)}  # type: ignore[attr-defined]
        return request, book, replace(lock, bases=tuple(named.values()))  # type: ignore[arg-type]

    return change


def rebased(name: str, platform: Platform) -> object:
    """A base image with another manifest on one platform, under the same index digest."""
    base = make_base(name)
    platforms = tuple(
        replace(entry, manifest=make_digest("rebuilt")) if entry.platform == platform else entry for entry in base.platforms
    )
    return replace(base, platforms=platforms)


def other_envoy(**changes: str) -> Change:
    return with_lock(artifacts=(make_artifact(AMD64), replace(make_artifact(ARM64), **changes)))  # type: ignore[arg-type]


def other_source(**changes: object) -> Change:
    return with_lock(source=make_source(make_state(**changes)))


def binaries(image: str, **changes: str) -> Change:
    [binary] = built_images(BOOK)[image].binaries
    return with_book(lambda book: change_image(book, image, binaries=(binary.model_copy(update=changes),)))


def of(*images: str) -> frozenset[str]:
    return frozenset(key for key in ALL if key.rpartition("-")[0] in images)


class TestFingerprints:
    @pytest.mark.parametrize(
        ("change", "affected"),
        [
            pytest.param(other_source(content="f" * 40), ALL, id="a file of the source"),
            pytest.param(other_source(commit="f" * 40), ALL, id="the commit"),
            pytest.param(other_source(committed_at=1), ALL, id="the time of the commit"),
            pytest.param(with_lock(go=LockedGo(version="1.26.1")), ALL, id="the version of Go"),
            pytest.param(
                with_bases(rebased("distroless", AMD64)),
                {"istioctl-distroless", "pilot-distroless"},
                id="a base's manifest for one platform",
            ),
            pytest.param(with_bases(rebased("iptables", ARM64)), {"proxyv2-distroless"}, id="the proxy's own base"),
            pytest.param(other_envoy(sha256="0" * 64), of("proxyv2"), id="the sum of an artifact"),
            pytest.param(other_envoy(member="envoy"), of("proxyv2"), id="which file of an archive"),
            pytest.param(with_book(lambda book: change_go(book, flags=("-trimpath", "-v"))), ALL, id="a compiler flag"),
            pytest.param(with_book(lambda book: change_go(book, ldflags=("-s",))), ALL, id="a linker flag"),
            pytest.param(with_book(lambda book: change_go(book, env={"GOAMD64": "v3"})), ALL, id="the compiler's environment"),
            pytest.param(
                with_book(lambda book: change_go(book, tags={**book.release.go.tags, "agent": ("agent",)})),
                of("proxyv2"),
                id="the build tags of one set",
            ),
            pytest.param(
                with_book(lambda book: change_template(book, "pilot.Dockerfile.j2", "STOPSIGNAL SIGQUIT")),
                of("pilot"),
                id="a template",
            ),
            pytest.param(
                with_book(lambda book: change_template(book, "_parts.j2", "{% macro unused() %}{% endmacro %}")),
                frozenset(),
                id="a template in a way that shows nowhere",
            ),
            pytest.param(with_book(lambda book: change_image(book, "pilot", user="0")), of("pilot"), id="the user"),
            pytest.param(with_book(lambda book: change_image(book, "proxyv2", env={"A": "1"})), of("proxyv2"), id="an env"),
            pytest.param(binaries("pilot", main="./other/pilot-discovery"), of("pilot"), id="where a program's main is"),
            pytest.param(binaries("pilot", tags="agent"), of("pilot"), id="which tag set a program has"),
            pytest.param(binaries("pilot", mode="0555"), of("pilot"), id="a mode"),
            pytest.param(binaries("pilot", path="/pilot-discovery"), of("pilot"), id="a place in the image"),
            pytest.param(with_request(hubs=(Hub.parse("docker.io/me"),)), ALL, id="the hub that is stamped"),
            pytest.param(with_request(tags=("1.29.0-corp",)), ALL, id="the version that is stamped"),
            pytest.param(with_request(platforms=(AMD64,)), ALL, id="the platforms"),
            pytest.param(with_request(compression="zstd"), ALL, id="the compression"),
        ],
    )
    def test_change_with(self, change: Change, affected: frozenset[str]) -> None:
        before = fingerprints(make_sample_plan())
        after = fingerprints(make_plan(*change(make_request(), BOOK, make_lock())))
        assert {key for key in before if before[key] != after[key]} == affected

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(
                with_request(hubs=(Hub.parse("registry.corp.example/istio"), Hub.parse("docker.io/me"))), id="one hub more"
            ),
            pytest.param(with_request(tags=("1.29.0", "latest")), id="one tag more"),
            pytest.param(
                with_bases(make_base("base", registry="mirror.corp.example/istio")), id="the registry a base comes from"
            ),
            pytest.param(with_request(base_registry="mirror.corp.example/istio"), id="the registry bases are asked for at"),
            pytest.param(other_envoy(url="https://mirror.corp.example/envoy.tar.gz"), id="where an artifact comes from"),
        ],
    )
    def test_stay_with(self, change: Change) -> None:
        assert fingerprints(make_plan(*change(make_request(), BOOK, make_lock()))) == fingerprints(make_sample_plan())

    def test_do_not_depend_on_the_order_of_further_hubs(self) -> None:
        first, *others = (Hub.parse(f"registry{number}.example/istio") for number in range(3))
        one = make_sample_plan(hubs=(first, *others))
        other = make_sample_plan(hubs=(first, *reversed(others)))
        assert fingerprints(one) == fingerprints(other)

    @pytest.mark.parametrize("choice", [{"images": ("pilot",)}, {"variants": ("distroless",)}, {"images": ("proxyv2", "pilot")}])
    def test_do_not_depend_on_which_other_images_are_built(self, choice: dict[str, Any]) -> None:
        everything = fingerprints(make_sample_plan())
        some = fingerprints(make_sample_plan(make_request(**choice)))
        assert 0 < len(some) < len(everything)
        assert some == {key: everything[key] for key in some}

    def test_of_an_image_without_programs_do_not_depend_on_go(self) -> None:
        book = change_image(BOOK, "pilot", binaries=(), files=(TreeFile(source="VERSION", path="/version"),))
        alone = make_sample_plan(book=book, lock=make_lock(go=LockedGo(version="")), request=make_request(images=("pilot",)))
        assert alone.compiles == ()
        among_others = fingerprints(make_sample_plan(book=book))
        assert fingerprints(alone) == {key: among_others[key] for key in of("pilot")}

    def test_are_digests_and_differ_between_images(self) -> None:
        found = fingerprints(make_sample_plan())
        assert set(found) == ALL
        assert len(set(found.values())) == len(ALL)
        sums = r"linux/amd64=sha256:[0-9a-f]{64} linux/arm64=sha256:[0-9a-f]{64}"
        assert all(re.fullmatch(sums, text) for text in found.values())


class TestPurity:
    def test_equal_inputs_give_equal_plans(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = make_sample_plan()
        monkeypatch.chdir(tmp_path)
        for name in ("HOME", "PATH", "USER", "TZ"):
            monkeypatch.delenv(name, raising=False)
        assert make_sample_plan(book=load_book()) == first

    def test_a_plan_can_be_a_key(self) -> None:
        # Hashable means frozen all the way down: no list or dictionary anywhere in it.
        assert hash(make_sample_plan()) == hash(make_sample_plan())


class TestTags:
    def test_variants_are_tagged_as_istio_does(self) -> None:
        plan = make_sample_plan(images=("pilot",))
        repository = "registry.corp.example/istio/pilot"
        assert [str(reference) for reference in image_of(plan, "pilot-debug").references] == [
            f"{repository}:1.29.0",
            f"{repository}:1.29.0-debug",
        ]
        assert [str(reference) for reference in image_of(plan, "pilot-distroless").references] == [
            f"{repository}:1.29.0-distroless"
        ]

    def test_every_hub_gets_every_tag(self) -> None:
        hubs = tuple(Hub.parse(text) for text in ("docker.io/me", "registry.corp.example:5000/istio"))
        plan = make_sample_plan(hubs=hubs, tags=("1.29.0", "1.29"), images=("pilot",), variants=("distroless",))
        assert [str(reference) for reference in plan.images[0].references] == [
            "docker.io/me/pilot:1.29.0-distroless",
            "docker.io/me/pilot:1.29-distroless",
            "registry.corp.example:5000/istio/pilot:1.29.0-distroless",
            "registry.corp.example:5000/istio/pilot:1.29-distroless",
        ]

    def test_a_hub_given_twice_is_one(self) -> None:
        hub = Hub.parse("docker.io/me")
        [image] = make_sample_plan(hubs=(hub, hub), images=("pilot",), variants=("distroless",)).images
        assert image.references == (ImageReference.parse("docker.io/me/pilot:1.29.0-distroless"),)

    def test_a_tag_that_two_variants_would_get_is_refused(self) -> None:
        with pytest.raises(RequestError, match=r"pilot:1\.29\.0-distroless would be the tag of both pilot-debug and pilot-dist"):
            make_sample_plan(tags=("1.29.0", "1.29.0-distroless"), images=("pilot",))

    def test_a_tag_too_long_with_the_variant_behind_it_is_refused(self) -> None:
        assert make_sample_plan(tags=("v" * 117,), images=("pilot",))
        with pytest.raises(RequestError, match="v-distroless' is malformed"):
            make_sample_plan(tags=("v" * 118,), images=("pilot",))


class TestVersion:
    @pytest.mark.parametrize(
        ("state", "version"),
        [
            ({}, "1.29.0"),
            ({"tag": "", "description": "1.29.0-3-g0123456"}, f"1.29-dev-{COMMIT[:10]}"),
            ({"tag": "", "dirty": True, "modified": True}, f"1.29-dev-{COMMIT[:10]}-dirty"),
            # What is built from a changed tree is not the release, whatever the tag at its HEAD says.
            ({"dirty": True, "modified": True}, f"1.29-dev-{COMMIT[:10]}-dirty"),
        ],
    )
    def test_is_the_tag_at_a_clean_head_else_says_which_commit(self, state: dict[str, object], version: str) -> None:
        assert choose_version(make_request(), make_source(make_state(**state))) == version

    def test_is_the_first_tag_asked_for(self) -> None:
        dirty = make_source(make_state(dirty=True))
        assert choose_version(make_request(tags=("corp-7", "latest")), dirty) == "corp-7"

    @pytest.mark.parametrize("git_tag", ["release/1.29", "1.29.0+corp"])
    def test_a_git_tag_that_is_no_image_tag_is_refused_before_any_work(self, git_tag: str) -> None:
        with pytest.raises(RequestError, match=re.escape(repr(git_tag))) as raised:
            make_sample_plan(lock=make_lock(make_source(make_state(tag=git_tag))))
        assert "--tag" in raised.value.hint

    def test_a_changed_tree_says_so_in_the_stamp(self) -> None:
        plan = make_sample_plan(lock=make_lock(make_source(make_state(dirty=True, modified=True))), tags=("x",))
        for step in plan.compiles:
            stamp = " ".join(step.command.ldflags)
            assert f"buildGitRevision={COMMIT}-dirty" in stamp
            assert "buildStatus=Modified" in stamp


class TestPatches:
    ONE, TWO = AppliedPatch(name="1.patch", sha256="1" * 64), AppliedPatch(name="2.patch", sha256="2" * 64)

    def patched(self, *patches: AppliedPatch, **state: object) -> SourceFacts:
        return make_source(make_state(**state), patches=patches, patched_content="d" * 40)

    def test_the_stamp_and_annotations_tell_them_and_the_release_is_not_taken(self) -> None:
        source = self.patched(self.ONE, self.TWO)
        plan = make_sample_plan(lock=make_lock(source))
        assert (plan.version, plan.source_tag) == (f"1.29.0-patched-{source.series}", "")
        for step in plan.compiles:
            stamp = " ".join(step.command.ldflags)
            assert f"buildGitRevision={COMMIT}-patched-{source.series}" in stamp
            assert "buildStatus=Modified" in stamp
        for image in plan.images:
            assert dict(image.annotations)["dev.istio-build.patches"] == (f"1.patch=sha256:{'1' * 64} 2.patch=sha256:{'2' * 64}")
        assert dict(plan.made)["patches"] == dict(plan.images[0].annotations)["dev.istio-build.patches"]
        assert "1.patch  sha256:111111111111" in plan_table(plan, ())

    def test_which_and_in_which_order_they_are_decides_what_an_image_is_and_names_the_revision(self) -> None:
        sources = [make_source(), *(self.patched(*some) for some in ((self.ONE,), (self.ONE, self.TWO), (self.TWO, self.ONE)))]
        plans = [make_sample_plan(lock=make_lock(source), tags=("x",)) for source in sources]
        assert len({image.fingerprint for plan in plans for image in plan.images if image.key == "pilot-debug"}) == 4
        assert len({source.revision for source in sources}) == 4

    def test_what_their_files_are_called_does_not_name_it(self) -> None:
        renamed = replace(self.ONE, name="other.patch")
        assert self.patched(renamed).revision == self.patched(self.ONE).revision

    def test_changes_that_are_not_committed_are_told_besides(self) -> None:
        source = self.patched(self.ONE, dirty=True, modified=True)
        assert source.revision == f"{COMMIT}-patched-{source.series}-dirty"
        assert choose_version(make_request(), source) == f"1.29-dev-{COMMIT[:10]}-patched-{source.series}-dirty"


class TestStamp:
    def test_hub_and_version_are_those_of_the_first_hub_and_tag(self) -> None:
        hubs = (Hub.parse("docker.io/me"), Hub.parse("docker.io/you"))
        plan = make_sample_plan(hubs=hubs, tags=("1.29.0-corp", "latest"))
        assert len(plan.compiles) == 4
        for step in plan.compiles:
            stamp = " ".join(step.command.ldflags).split()
            assert "istio.io/istio/pkg/version.buildHub=docker.io/me" in stamp
            assert "istio.io/istio/pkg/version.buildVersion=1.29.0-corp" in stamp
            assert f"istio.io/istio/pkg/version.buildGitRevision={COMMIT}" in stamp
            assert "istio.io/istio/pkg/version.buildStatus=Clean" in stamp
            assert f"istio.io/istio/pkg/version.buildArch={step.platform.architecture}" in stamp


class TestCompiling:
    def test_a_step_is_a_tag_set_on_a_platform(self) -> None:
        steps = {step.key: step for step in make_sample_plan().compiles}
        assert set(steps) == {f"linux_{arch}/{tags}" for arch in ("amd64", "arm64") for tags in ("agent", "standard")}
        assert steps["linux_arm64/standard"].programs == ("istioctl", "pilot-discovery")
        assert steps["linux_arm64/agent"].command.argv()[-2:] == (
            "-tags=agent,disable_pgv,grpcnotrace,retrynotrace",
            "./pilot/cmd/pilot-agent",
        )

    def test_only_the_programs_of_the_chosen_images_are_compiled(self) -> None:
        plan = make_sample_plan(images=("pilot",), platforms=(ARM64,))
        assert [step.command.packages for step in plan.compiles] == [("./pilot/cmd/pilot-discovery",)]

    def test_no_setting_of_the_machine_is_left_to_decide(self) -> None:
        for step in make_sample_plan().compiles:
            env = dict(step.env)
            assert (env["GOOS"], env["GOARCH"]) == ("linux", step.platform.architecture)
            assert env["CGO_ENABLED"] == "0"
            assert env["GOENV"] == "off"
            assert env["GOTOOLCHAIN"] == "local"
            assert env["GOWORK"] == "off"
            # Everything of Go's that changes what it makes is set, be it to nothing: `go env` of Go 1.26.
            assert {"GO111MODULE", "GOAMD64", "GOARM64", "GODEBUG", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS"} <= set(env)

    def test_two_mains_of_one_name_in_one_step_are_refused(self) -> None:
        other = Binary(main="./tools/pilot-discovery", tags="standard", path="/usr/local/bin/istioctl")
        with pytest.raises(RecipeError, match=r"\./tools/pilot-discovery.* would both make pilot-discovery"):
            make_sample_plan(book=change_image(BOOK, "istioctl", binaries=(other,)))

    @pytest.mark.parametrize("version", ["1.25.0", "1.25", "1.25.7", "1.26", "1.26rc1", "2.0.0"])
    def test_go_of_the_wanted_version_or_newer_is_taken(self, version: str) -> None:
        assert make_sample_plan(lock=make_lock(go=LockedGo(version=version))).go_version == version

    @pytest.mark.parametrize("version", ["1.24.9", "1.9", "1.24rc2", "0.99"])
    def test_go_that_is_too_old_is_refused(self, version: str) -> None:
        with pytest.raises(ToolchainError, match=rf"Go {re.escape(version)} is too old.*wants 1\.25\.0") as raised:
            make_sample_plan(lock=make_lock(go=LockedGo(version=version)))
        assert "istio-build[go]" in raised.value.hint


class TestChoosing:
    def test_an_unknown_image_names_the_nearest(self) -> None:
        with pytest.raises(RequestError, match="no image 'proxy'") as raised:
            make_sample_plan(images=("proxy",))
        assert "Did you mean proxyv2?" in raised.value.hint

    def test_an_image_like_no_other_names_them_all(self) -> None:
        with pytest.raises(RequestError) as raised:
            make_sample_plan(images=("zzz",))
        names = [recipe.image for recipe in BOOK.images]
        assert {"istioctl", "pilot", "proxyv2"} < set(names)
        assert raised.value.hint.startswith(f"Known images: {', '.join(names)}. Groups of them: ")

    def test_an_unknown_variant_names_the_known(self) -> None:
        with pytest.raises(RequestError, match="no variant 'slim'") as raised:
            make_sample_plan(variants=("debug", "slim"))
        assert "debug, distroless" in raised.value.hint

    def test_a_variant_that_this_image_lacks_says_which_it_has(self) -> None:
        book = change_image(BOOK, "pilot", variants={"debug": Variant(base="base")})
        with pytest.raises(RequestError, match="image pilot has no variant distroless") as raised:
            make_sample_plan(book=book, variants=("distroless",))
        assert raised.value.hint == "It has debug."

    def test_an_unknown_name_in_a_recipe_says_where(self) -> None:
        book = change_image(BOOK, "pilot", env={"SHA": "{{ dependencies.PROXY }}"})
        with pytest.raises(RecipeError, match=r"pilot\.yaml: env\.SHA: .*PROXY"):
            make_sample_plan(book=book)


class TestLayers:
    def test_each_file_has_a_layer_of_its_own(self) -> None:
        [amd64, _] = image_of(make_sample_plan(), "proxyv2-debug").platforms
        paths = [[file.path for file in layer.files] for layer in amd64.layers if isinstance(layer, FilesLayer)]
        assert paths == [
            ["/var/lib/istio/envoy/envoy_bootstrap_tmpl.json"],
            ["/usr/local/bin/envoy"],
            ["/usr/local/bin/pilot-agent"],
        ]

    def test_downloads_have_one_time_whatever_is_built_and_the_rest_the_commits(self) -> None:
        times = {
            file.path.rpartition("/")[2]: file.mtime for file in image_of(make_sample_plan(), "proxyv2-debug").platforms[0].files
        }
        assert times["envoy"] == 0
        assert times["pilot-agent"] == times["envoy_bootstrap_tmpl.json"] == make_state().committed_at

    def test_a_program_comes_from_the_step_of_its_platform(self) -> None:
        for platform in image_of(make_sample_plan(), "pilot-debug").platforms:
            [file] = platform.files
            step = f"{platform.platform.slug}/standard"
            assert file.origin == CompiledFile(step=step, program="pilot-discovery")

    def test_files_made_of_one_name_have_archives_of_their_own(self) -> None:
        files = (TreeFile(source="a/VERSION", path="/a/VERSION"), TreeFile(source="b/VERSION", path="/b/VERSION"))
        plan = make_sample_plan(book=change_image(BOOK, "pilot", files=files), images=("pilot",))
        archives = [layer.archive for layer in plan.images[0].platforms[0].layers]
        assert len(set(archives)) == 3


class TestGolden:
    def test_the_plan_as_json(self) -> None:
        check_golden(GOLDEN / "plan.json", plan_json(make_sample_plan(), SETTINGS) + "\n")

    def test_the_plan_as_a_table(self) -> None:
        check_golden(GOLDEN / "plan.txt", plan_table(make_sample_plan(), SETTINGS) + "\n")

    def test_the_dockerfiles(self) -> None:
        check_golden(GOLDEN / "Dockerfiles", plan_dockerfiles(make_sample_plan()) + "\n")

    def test_the_bake_definition(self) -> None:
        check_golden(GOLDEN / "bake.json", plan_bake(make_sample_plan()) + "\n")

    def test_they_hold_no_path_of_a_machine(self) -> None:
        files = [path for path in GOLDEN.rglob("*") if path.is_file()]
        assert len(files) >= 4
        for path in files:
            text = path.read_text()
            assert str(Path.cwd()) not in text, path
            assert str(Path.home()) + "/" not in text, path
            assert not re.search(r'["\s=](/home|/root|/tmp|/Users|/builds)/', text), path


class TestViews:
    def test_json_is_typed_alike_whether_empty_or_not(self) -> None:
        document = json.loads(plan_json(make_sample_plan(), SETTINGS))
        for image in document["images"]:
            assert isinstance(image["annotations"], dict)
            assert isinstance(image["entrypoint"], list)
            for platform in image["platforms"]:
                assert isinstance(platform["env"], dict)
                assert isinstance(platform["labels"], dict)
        assert document["settings"][0] == {"name": "hub", "value": "registry.corp.example/istio", "origin": "--hub"}

    @pytest.mark.parametrize("show", [plan_json, plan_table])
    def test_no_credential_of_a_url_is_shown(self, show: Callable[[Plan, tuple[Setting, ...]], str]) -> None:
        secret = "https://user:hunter2@mirror.corp.example/envoy.tar.gz?signature=hunter2"
        settings = (Setting(name="envoy_url", value=secret, origin="--envoy-url"),)
        inputs = other_envoy(url=secret)(make_request(), BOOK, make_lock())
        text = show(make_plan(*inputs), settings)
        assert "https://mirror.corp.example/envoy.tar.gz" in text
        assert "hunter2" not in text

    def test_the_table_names_every_reference_and_where_settings_come_from(self) -> None:
        plan = make_sample_plan()
        text = plan_table(plan, SETTINGS)
        assert all(f"push   {reference}\n" in f"{text}\n" for image in plan.images for reference in image.references)
        assert re.search(r"^  hub +registry\.corp\.example/istio +--hub$", text, re.MULTILINE)

    def test_a_plan_that_compiles_nothing_says_so(self) -> None:
        book = change_image(BOOK, "pilot", binaries=())
        text = plan_table(make_sample_plan(book=book, request=make_request(images=("pilot",)), lock=make_lock(artifacts=())), ())
        assert "Compile\n  nothing" in text
        assert "Fetch" not in text
