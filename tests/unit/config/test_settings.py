"""Where each setting comes from, which one wins, and what is said of malformed ones."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from builder.config.merged import Given, Setting
from builder.config.outputs import NOTHING_MORE
from builder.config.project_file import find_project, read_project
from builder.config.request import ArtifactOverride, GoRequest, SourceRequest
from builder.config.settings import DEFAULT_GIT_URL, Job, make_job
from builder.errors import RecipeError, RequestError
from builder.oci.reference import Hub
from builder.recipe.yaml_file import YamlDocument
from tests.samples.images import AMD64, ARM64

HUB = "registry.corp.example/istio"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that is neither a project nor Istio's source."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    monkeypatch.chdir(directory)


def flag(name: str, *words: str) -> dict[str, Given]:
    return {name: Given(words=words, origin=f"--{name.replace('_', '-')}")}


def variable(name: str, *words: str) -> dict[str, Given]:
    return {name: Given(words=words, origin=f"ISTIO_BUILD_{name.upper()}")}


def project(directory: Path, text: str) -> YamlDocument:
    directory.mkdir(exist_ok=True)
    (directory / "istio-build.yaml").write_text(text)
    return read_project(directory / "istio-build.yaml")


def job(given: Mapping[str, Given], file: YamlDocument | None = None) -> Job:
    """The job with a hub and a release where the test names none."""
    needed = {**flag("hub", HUB), **flag("istio", "1.29.0")}
    named = set(given) | set((file.data or {}) if file else {})
    if named & {"source", "istio"}:
        needed.pop("istio")
    return make_job({name: value for name, value in needed.items() if name not in named} | dict(given), file)


def origins(found: Job) -> dict[str, tuple[str, str]]:
    return {setting.name: (setting.value, setting.origin) for setting in found.settings}


class TestPrecedence:
    def test_a_flag_or_variable_wins_over_the_file_and_that_over_the_default(self, tmp_path: Path) -> None:
        file = project(tmp_path, f"hub: {HUB}\ntag: from-file\ncompression: zstd\n")
        found = job({**flag("tag", "from-flag"), **variable("image", "pilot")}, file)
        assert found.request.hubs == (Hub.parse(HUB),)
        assert found.request.tags == ("from-flag",)
        assert found.request.images == ("pilot",)
        assert found.request.compression == "zstd"
        assert found.request.platforms == (AMD64, ARM64)
        assert origins(found) == {
            "hub": (HUB, f"{file.path}:1"),
            "tag": ("from-flag", "--tag"),
            "image": ("pilot", "ISTIO_BUILD_IMAGE"),
            "compression": ("zstd", f"{file.path}:3"),
            "platform": ("linux/amd64, linux/arm64", "default"),
            "istio": ("1.29.0", "--istio"),
            "git_url": (DEFAULT_GIT_URL, "default"),
            "engine": ("auto", "default"),
        }

    def test_a_flag_replaces_a_list_of_the_file_as_a_whole(self, tmp_path: Path) -> None:
        file = project(tmp_path, "image: [istioctl, pilot]\n")
        assert job({}, file).request.images == ("istioctl", "pilot")
        assert job(flag("image", "proxyv2"), file).request.images == ("proxyv2",)

    def test_only_what_was_used_is_told(self) -> None:
        assert {"base", "envoy", "envoy_url", "builder", "variant", "source"} & set(origins(job({}))) == set()


class TestSource:
    def test_a_release_is_fetched_from_a_url_that_can_be_changed(self) -> None:
        assert job(flag("istio", "1.29.0")).source == SourceRequest(release="1.29.0", url=DEFAULT_GIT_URL)
        found = job({**flag("istio", "1.29.0"), **flag("git_url", "https://git.corp.example/istio")})
        assert found.source.url == "https://git.corp.example/istio"

    def test_a_directory_of_a_flag_is_relative_to_the_working_directory(self, tmp_path: Path) -> None:
        file = project(tmp_path, "tag: a\n")
        assert job(flag("source", "istio"), file).source == SourceRequest(directory=Path("istio"))
        assert job(variable("source", "/src/istio"), file).source == SourceRequest(directory=Path("/src/istio"))

    def test_a_directory_of_the_file_is_relative_to_the_file(self, tmp_path: Path) -> None:
        assert job({}, project(tmp_path, "source: ../istio\n")).source.directory == tmp_path / "../istio"
        assert job({}, project(tmp_path, "source: /src/istio\n")).source.directory == Path("/src/istio")

    @pytest.mark.parametrize(
        ("given", "text", "origin"),
        [
            (flag("source", "dir"), "istio: 1.29.0\n", "--source"),
            (variable("source", "dir"), "istio: 1.29.0\n", "ISTIO_BUILD_SOURCE"),
            ({**flag("source", "dir"), **variable("istio", "1.29.0")}, "", "--source"),
        ],
    )
    def test_a_directory_named_nearer_wins_over_a_release(
        self, tmp_path: Path, given: dict[str, Given], text: str, origin: str
    ) -> None:
        found = job(given, project(tmp_path, text))
        assert found.source == SourceRequest(directory=Path("dir"))
        assert origins(found)["source"] == ("dir", origin)
        assert "istio" not in origins(found)

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            (flag("istio", "1.29.0"), "source: dir\n"),
            (variable("istio", "1.29.0"), "source: dir\n"),
            ({**flag("istio", "1.29.0"), **variable("source", "dir")}, ""),
        ],
    )
    def test_a_release_named_nearer_wins_over_a_directory(self, tmp_path: Path, given: dict[str, Given], text: str) -> None:
        found = job(given, project(tmp_path, text))
        assert found.source == SourceRequest(release="1.29.0", url=DEFAULT_GIT_URL)
        assert "source" not in origins(found)

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({**flag("istio", "1.29.0"), **flag("source", "dir")}, ""),
            ({**variable("istio", "1.29.0"), **variable("source", "dir")}, ""),
            ({}, "istio: 1.29.0\nsource: dir\n"),
        ],
    )
    def test_both_named_alike_are_refused(self, tmp_path: Path, given: dict[str, Given], text: str) -> None:
        with pytest.raises(RequestError, match="both a source directory and a release") as raised:
            job(given, project(tmp_path, text))
        assert "--source or --istio" in raised.value.hint

    def test_in_a_checkout_none_has_to_be_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "istio.deps").touch()
        monkeypatch.chdir(tmp_path)
        found = make_job(flag("hub", HUB), None)
        assert found.source == SourceRequest(directory=Path())
        assert origins(found)["source"] == (".", "the working directory is Istio's source")

    def test_elsewhere_one_has_to_be(self) -> None:
        with pytest.raises(RequestError, match="no source") as raised:
            make_job(flag("hub", HUB), None)
        assert "--istio 1.29.0" in raised.value.hint
        assert "--source DIR" in raised.value.hint

    @pytest.mark.parametrize("release", ["1.29/0", "../etc", "-x", "a b"])
    def test_a_release_that_cannot_be_one_is_refused(self, release: str) -> None:
        with pytest.raises(RequestError, match="malformed"):
            job(flag("istio", release))


class TestPaths:
    def test_recipes_of_the_file_are_beside_it_and_those_of_a_flag_here(self, tmp_path: Path) -> None:
        file = project(tmp_path, "recipes: [own, /all]\n")
        assert job({}, file).recipes == (tmp_path / "own", Path("/all"))
        assert job(flag("recipes", "own"), file).recipes == (Path("own"),)

    def test_so_is_an_envoy_but_not_one_that_is_a_url_or_below_a_home(self, tmp_path: Path) -> None:
        file = project(tmp_path, "envoy:\n  linux/amd64: bin/envoy\n  linux/arm64: https://mirror.corp.example/envoy\n")
        assert [override.location for override in job({}, file).request.artifact_overrides] == [
            str(tmp_path / "bin/envoy"),
            "https://mirror.corp.example/envoy",
        ]
        [home] = job({}, project(tmp_path, "envoy: {linux/amd64: ~/envoy}\n")).request.artifact_overrides
        assert home.location == "~/envoy"
        [here] = job(flag("envoy", "linux/amd64=bin/envoy"), file).request.artifact_overrides
        assert here.location == "bin/envoy"


class TestValues:
    def test_one_word_or_a_list_are_the_same_in_the_file(self, tmp_path: Path) -> None:
        assert job({}, project(tmp_path, "tag: a\n")).request.tags == ("a",)
        assert job({}, project(tmp_path, "tag: [a, b]\n")).request.tags == ("a", "b")

    def test_what_is_named_twice_counts_once(self) -> None:
        found = job({**flag("tag", "a", "b", "a"), **flag("image", "pilot", "pilot"), **flag("variant", "debug", "debug")})
        assert found.request.tags == ("a", "b")
        assert found.request.images == ("pilot",)
        assert found.request.variants == ("debug",)

    def test_platforms_are_in_one_order_under_all_their_names(self) -> None:
        found = job(flag("platform", "linux/arm64/v8", "linux/amd64", "linux/arm64"))
        assert found.request.platforms == (AMD64, ARM64)

    def test_hubs_keep_their_order_as_the_first_is_stamped(self) -> None:
        found = job(flag("hub", "docker.io/z", "docker.io/a"))
        assert [str(hub) for hub in found.request.hubs] == ["docker.io/z", "docker.io/a"]

    def test_where_things_come_from(self) -> None:
        found = job(
            {
                **flag("base_registry", "registry.corp.example/mirror/"),
                **flag("base", "base=docker.io/me/base:1", "iptables=x/y@sha256:0=1"),
                **flag("envoy_url", "https://mirror.corp.example/proxy"),
                **flag("envoy", "linux/arm64=/opt/envoy"),
                **flag("builder", "farm"),
                **flag("insecure_registry", "a:5000", "b"),
                **flag("timeout", "2.5"),
            }
        )
        assert found.request.base_registry == "registry.corp.example/mirror"
        assert found.request.bases == (("base", "docker.io/me/base:1"), ("iptables", "x/y@sha256:0=1"))
        assert found.request.artifact_urls == (("envoy", "https://mirror.corp.example/proxy"),)
        assert found.request.artifact_overrides == (ArtifactOverride(artifact="envoy", platform=ARM64, location="/opt/envoy"),)
        assert found.builder == "farm"
        assert found.insecure_registries == ("a:5000", "b")
        assert found.timeout == 2.5

    def test_patience_has_a_default_and_a_key(self, tmp_path: Path) -> None:
        assert job({}).timeout == 120
        assert job({}, project(tmp_path, "timeout: 30\n")).timeout == 30

    @pytest.mark.parametrize("word", ["0", "-1", "soon", "inf", "nan"])
    def test_patience_is_a_number_above_0(self, word: str) -> None:
        with pytest.raises(RequestError, match=r"--timeout '.*' is no number of seconds above 0"):
            job(flag("timeout", word))

    def test_patience_of_the_file_is_too(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match=r":\d+: .*timeout|timeout"):
            project(tmp_path, "timeout: 0\n")

    def test_where_programs_of_others_come_from(self, tmp_path: Path) -> None:
        text = "envoy_from: [url, image]\nenvoy_image: a/envoy:1\nztunnel_from: file\ndebug_envoy: true\n"
        more = "ztunnel: {linux/amd64: bin/ztunnel}\nztunnel_url: https://z.example\nmirror_from: {agentgateway: a/b:1}\n"
        found = job({}, project(tmp_path, text + more)).request
        assert found.artifact_sources == (("envoy", ("url", "image")), ("ztunnel", ("file",)))
        assert found.artifact_images == (("envoy", "a/envoy:1"),)
        assert found.artifact_urls == (("ztunnel", "https://z.example"),)
        assert [(own.artifact, own.location) for own in found.artifact_overrides] == [("ztunnel", str(tmp_path / "bin/ztunnel"))]
        assert found.debug_artifacts == ("envoy",)
        assert found.mirror_sources == (("agentgateway", "a/b:1"),)
        assert job(flag("debug_envoy", "false"), project(tmp_path, text)).request.debug_artifacts == ()

    def test_a_mapping_of_the_file_is_pairs(self, tmp_path: Path) -> None:
        found = job({}, project(tmp_path, "base:\n  base: docker.io/me/base:1\n  distroless: docker.io/me/d\n"))
        assert found.request.bases == (("base", "docker.io/me/base:1"), ("distroless", "docker.io/me/d"))
        assert origins(found)["base"][0] == "base=docker.io/me/base:1, distroless=docker.io/me/d"

    def test_without_a_hub_says_the_three_ways_to_give_one(self) -> None:
        with pytest.raises(RequestError, match="no hub") as raised:
            make_job(flag("istio", "1.29.0"), None)
        assert all(way in raised.value.hint for way in ("--hub", "ISTIO_BUILD_HUB", "istio-build.yaml"))

    def test_layouts_know_their_own_hub(self) -> None:
        assert make_job(flag("istio", "1.29.0"), None, needs_hub=False).request.hubs == ()

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            (flag("base", "docker.io/me/base:1"), "--base 'docker.io/me/base:1' is malformed"),
            (flag("base", "=docker.io/me/base:1"), "--base '=docker.io/me/base:1' is malformed"),
            (flag("base", "base="), "--base 'base=' is malformed"),
            (flag("base", "base=a", "base=b"), "--base base is given twice"),
            (flag("envoy", "/opt/envoy"), "--envoy '/opt/envoy' is malformed"),
            (flag("ztunnel", "/opt/ztunnel"), "--ztunnel '/opt/ztunnel' is malformed"),
            (flag("envoy_from", "url", "cache"), "--envoy-from 'cache': there is no such source"),
            (flag("mirror_from", "agentgateway"), "--mirror-from 'agentgateway' is malformed"),
            (flag("envoy", "arm64=/opt/envoy"), "platform 'arm64' is not one"),
            (flag("envoy", "linux/arm/v7=/opt/envoy"), "platform 'linux/arm/v7' is not one"),
            (flag("platform", "linux/arm/v7"), "platform 'linux/arm/v7' is not one"),
            (flag("tag", "a/b"), "tag 'a/b' is malformed"),
            (flag("hub", "https://docker.io/me"), "must not have a scheme"),
        ],
    )
    def test_malformed_ones_are_refused_with_what_to_write(self, given: dict[str, Given], told: str) -> None:
        with pytest.raises(RequestError) as raised:
            job(given)
        assert told in raised.value.message
        assert raised.value.hint


class TestGo:
    def test_is_the_releases_unless_another_is_named(self, tmp_path: Path) -> None:
        assert job({}).request.go == GoRequest()
        assert job(flag("go", "go1.25.9")).request.go.version == "1.25.9"
        assert job({}, project(tmp_path, "go: newest\n")).request.go.version == "newest"

    @pytest.mark.parametrize("words", [("-v '-gcflags=all=-N -l'",), ("-v", "'-gcflags=all=-N", "-l'")])
    def test_flags_are_split_as_a_shell_does_however_many_words_they_come_in(self, words: tuple[str, ...]) -> None:
        assert job(flag("go_flags", *words)).request.go.flags == ("-v", "-gcflags=all=-N -l")

    def test_environment_and_debug_of_the_file(self, tmp_path: Path) -> None:
        file = project(tmp_path, "go_env: {GOFIPS140: v1.0.0}\ndebug: true\n")
        assert job({}, file).request.go == GoRequest(env=(("GOFIPS140", "v1.0.0"),), debug=True)
        assert not job(variable("debug", "false"), file).request.go.debug

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            (flag("go", "latest"), "--go 'latest' is malformed"),
            ({**flag("go", "machine"), **flag("compile_in", "golang:1.25")}, "--go cannot be used with --compile-in"),
            (flag("go_flags", "'-v"), "--go-flags is malformed: No closing quotation"),
            (flag("go_flags", "-gcflags=-S ./evil"), "--go-flags: './evil' is no flag"),
            (flag("go_flags", "--o=/etc/passwd"), "--go-flags: -o cannot be set"),
            (flag("go_flags", "-tags"), "--go-flags: -tags lacks its value"),
            (flag("go_env", "GOPROXY=x"), "--go-env: GOPROXY cannot be set"),
            (flag("go_env", "CGO_ENABLED=yes"), "--go-env CGO_ENABLED='yes' is malformed"),
            (flag("go_env", "GOAMD64"), "--go-env 'GOAMD64' is malformed"),
        ],
    )
    def test_malformed_wishes_are_refused_with_what_to_write(self, given: dict[str, Given], told: str) -> None:
        with pytest.raises(RequestError) as raised:
            job(given)
        assert told in raised.value.message
        assert raised.value.hint


class TestProjectFile:
    def test_in_the_working_directory_is_found(self) -> None:
        assert find_project("") is None
        Path("istio-build.yaml").write_text("hub: docker.io/me\n")
        found = find_project("")
        assert found is not None
        assert found.data == {"hub": "docker.io/me"}
        assert Setting(name="hub", value="docker.io/me", origin="istio-build.yaml:1") in job({}, found).settings

    def test_with_the_other_suffix_is_not_ignored_without_a_word(self) -> None:
        Path("istio-build.yml").write_text("hub: docker.io/me\n")
        with pytest.raises(RequestError, match=r"istio-build\.yml is not read: .* called istio-build\.yaml") as raised:
            find_project("")
        assert "--file istio-build.yml" in raised.value.hint
        named = find_project("istio-build.yml")
        assert named
        assert named.data == {"hub": "docker.io/me"}

    def test_that_is_named_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match=r"there is no project file .*/gone\.yaml"):
            find_project(str(tmp_path / "gone.yaml"))

    def test_that_cannot_be_looked_for_is_told_as_what_is_read(self) -> None:
        with pytest.raises(RequestError, match=r"cannot look for the project file x+: File name too long") as raised:
            find_project("x" * 1000)
        assert "read the directory" in raised.value.hint

    @pytest.mark.parametrize("text", ["", "# nothing yet\n", "hub: []\n"])
    def test_that_is_empty_says_nothing(self, tmp_path: Path, text: str) -> None:
        assert make_job({**flag("hub", HUB), **flag("istio", "1.29.0")}, project(tmp_path, text)).request.tags == ()

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("hub: docker.io/me\nimages: [pilot]\n", ":2: unknown key 'images'; did you mean 'image'?"),
            ("tag: 1.29\n", ":1: tag.0: Input should be a valid string; write it in quotes"),
            ("compression: lz4\n", ":1: compression: Input should be"),
            ("base: [a]\n", ":1: base: "),
            ("hub: {a: b}\n", ":1: hub.0: "),
        ],
    )
    def test_that_is_wrong_is_told_with_its_line(self, tmp_path: Path, text: str, told: str) -> None:
        with pytest.raises(RecipeError) as raised:
            project(tmp_path, text)
        assert f"istio-build.yaml{told}" in raised.value.message
        assert len(raised.value.message.splitlines()) == 1

    def test_a_malformed_hub_in_it_is_refused_too(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match="malformed at 'Me'"):
            job({}, project(tmp_path, "hub: docker.io/Me\n"))


class TestLock:
    def test_it_lies_beside_the_project_file_or_in_the_working_directory(self, tmp_path: Path) -> None:
        file = project(tmp_path / "project", f"hub: {HUB}\nlocked: true\n")
        assert job({}, file).lock == tmp_path / "project" / "istio-build.lock"
        assert job({}).lock == Path("istio-build.lock")

    def test_one_that_is_named_is_relative_to_who_names_it(self, tmp_path: Path) -> None:
        file = project(tmp_path / "project", f"hub: {HUB}\nlock: ci/release.lock\n")
        assert job({}, file).lock == tmp_path / "project" / "ci" / "release.lock"
        assert job(flag("lock", "mine.lock"), file).lock == Path("mine.lock")

    def test_it_is_obeyed_and_the_network_left_alone_only_where_that_is_asked_for(self, tmp_path: Path) -> None:
        assert (job({}).locked, job({}).offline) == (False, False)
        found = job({**variable("locked", "true"), **flag("offline", "true")}, project(tmp_path / "p", "locked: false\n"))
        assert (found.locked, found.offline) == (True, True)


class TestTagsThatDoNotMove:
    def test_they_are_named_by_patterns(self, tmp_path: Path) -> None:
        file = project(tmp_path, 'immutable: ["1.*", "v1.*"]\nno_clobber: true\n')
        assert (job({}, file).immutable, job({}, file).no_clobber) == (("1.*", "v1.*"), True)
        assert job(flag("immutable", "2.*"), file).immutable == ("2.*",)
        assert not job(variable("no_clobber", "false"), file).no_clobber

    def test_without_a_word_all_may(self) -> None:
        assert (job({}).immutable, job({}).no_clobber) == ((), False)


class TestCredentialsOverPlainHttp:
    HOST = "registry.corp.example:5000"

    @pytest.mark.parametrize("named", [HOST, "registry.corp.example"])
    def test_a_file_that_asks_for_it_for_a_hub_that_a_flag_names_is_told(self, tmp_path: Path, named: str) -> None:
        file = project(tmp_path, f"insecure_registry: [other.example, '{named}']\n")
        hubs = flag("hub", f"{self.HOST}/istio", f"{self.HOST}/too", "other.example:1/x", "docker.io/me")
        assert job(hubs, file).exposed_hubs == (self.HOST, "other.example:1")
        assert job(variable("hub", f"{self.HOST}/istio"), file).exposed_hubs == (self.HOST,)

    def test_who_names_both_knows(self, tmp_path: Path) -> None:
        typed = {**flag("hub", f"{self.HOST}/istio"), **flag("insecure_registry", self.HOST)}
        assert job(typed).exposed_hubs == ()
        assert job({}, project(tmp_path, f"hub: {self.HOST}/istio\ninsecure_registry: '{self.HOST}'\n")).exposed_hubs == ()
        assert job(flag("hub", f"{self.HOST}/istio")).exposed_hubs == ()


class TestReleasesByRule:
    def test_a_rule_is_held_against_the_tags_later(self) -> None:
        found = job(flag("istio", "1.28", "latest"))
        assert found.source.release == ""
        assert [wish.text for wish in found.source.wishes] == ["1.28", "latest"]
        assert found.source.may_be_several
        assert origins(found)["istio"] == ("1.28, latest", "--istio")

    @pytest.mark.parametrize(("word", "several"), [("1.28", False), ("latest", False), ("1.28+", True), ("supported", True)])
    def test_whether_it_can_be_several_is_known_before(self, word: str, several: bool) -> None:
        assert job(flag("istio", word)).source.may_be_several is several

    def test_the_project_file_has_one_or_a_list(self, tmp_path: Path) -> None:
        assert job({}, project(tmp_path, "istio: 1.29.0\n")).source.release == "1.29.0"
        found = job({}, project(tmp_path, "istio: [supported, 1.24.6]\n"))
        assert [wish.text for wish in found.source.wishes] == ["supported", "1.24.6"]

    def test_a_line_without_quotes_is_a_number_and_told_so(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match=r"istio-build\.yaml:2: .*write it in quotes"):
            project(tmp_path, "hub: a.example/b\nistio: 1.30\n")


class TestTagsByRule:
    def test_placeholders_stay_until_the_source_is_known(self) -> None:
        tags = ("{{ release }}", "{{ line }}-{{ date }}", "corp-{{commit}}", "{{ release }}-r{{ n }}")
        assert job(flag("tag", *tags)).request.tags == tags

    def test_a_variable_comes_in_words(self) -> None:
        found = job(variable("tag", "{{", "release", "}}-corp", "1.29", "x-{{", "date", "}}"))
        assert found.request.tags == ("{{ release }}-corp", "1.29", "x-{{ date }}")

    @pytest.mark.parametrize(
        ("tag", "message", "hint"),
        [
            ("{{ relase }}", "'relase' is undefined", "{{ release }}, {{ line }}, {{ commit }}, {{ date }}, {{ n }}"),
            ("{{ release", "unexpected", "Placeholders are"),
            ("{{ release }}/x", "malformed", ""),
            ("{{ release * 100 }}", "malformed", ""),
            ("{{ release }}{{ n }}", "could not be told from the rest", "'{{ release }}-r{{ n }}'"),
            ("r{{ n }}{{ commit }}", "could not be told from the rest", ""),
            ("{{ n }}-{{ n }}", "could not be told from the rest", ""),
            ("{{ release }}-r{{ n | int + 1 }}", "could not be told from the rest", ""),
            ("{{ '%02d' % n }}", "format", "Placeholders are"),
            ("{{ release }}-r<n>", "malformed", ""),
        ],
    )
    def test_what_makes_no_tag_is_told_at_once(self, tag: str, message: str, hint: str) -> None:
        with pytest.raises(RequestError) as raised:
            job(flag("tag", tag))
        assert message in raised.value.message
        assert hint in raised.value.hint


class TestOutputs:
    """What is told of a run, and where."""

    def test_paths_of_the_file_are_relative_to_it_and_those_of_flags_to_the_working_directory(self, tmp_path: Path) -> None:
        file = project(tmp_path, "report: reports\ntrace: trace.json\n")
        found = job({**flag("trace", "here.json"), **flag("metrics", "job.prom")}, file).outputs
        assert (found.report, found.trace, found.metrics) == (tmp_path / "reports", Path("here.json"), Path("job.prom"))

    def test_nothing_is_told_where_nothing_is_asked_for(self) -> None:
        assert job({}).outputs == NOTHING_MORE

    def test_people_are_told_of_changes_unless_something_else_is_asked_for(self) -> None:
        assert job(variable("notify", "json://a")).outputs.notify_on == "change"
        assert job({**variable("notify", "json://a"), **flag("notify_on", "always")}).outputs.notify_on == "always"

    def test_an_address_in_the_file_is_refused_and_not_shown(self, tmp_path: Path) -> None:
        file = project(tmp_path, "notify: [$SLACK_URL, 'slack://s3cr3t']\n")
        with pytest.raises(RequestError) as caught:
            job({}, file)
        assert str(file.path) in caught.value.message
        assert "s3cr3t" not in caught.value.message + caught.value.hint

    def test_the_file_may_name_a_variable(self, tmp_path: Path) -> None:
        assert job({}, project(tmp_path, "notify: $SLACK_URL\n")).outputs.variables == {"SLACK_URL"}

    @pytest.mark.parametrize("give", [flag, variable])
    def test_no_address_is_among_the_settings_that_are_shown(self, give: Callable[..., dict[str, Given]]) -> None:
        found = job(give("notify", "slack://s3cr3t"))
        assert "s3cr3t" not in str(origins(found)) + repr(found)
        assert origins(found)["notify"][0] == "not shown"
