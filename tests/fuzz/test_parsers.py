"""No input, local or remote, is answered with a traceback: every parser gets bytes at random, and valid input with changes.

What a parser may raise is an error of ours, or `RetryableError`. Which examples are tried is the same in each run on CI.
"""

import contextlib
import gzip
import io
import json
import os
import random
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builder.build.fetch import fetch_artifact
from builder.config.project_schema import ProjectFile
from builder.engine.build_log import BuildLog
from builder.errors import BuilderError, RecipeError, RegistryError
from builder.images.layout_notes import LayoutNotes
from builder.net.download import _local_path, _Transfer
from builder.net.partial_file import PartialFile
from builder.net.session import Waiting
from builder.net.temporary import retry_after_seconds
from builder.oci.executable import is_program_for
from builder.oci.go_build_info import read_build_info
from builder.oci.layer import read_layer
from builder.oci.layout import Layout
from builder.oci.manifest import INDEX as INDEX_TYPE
from builder.oci.manifest import MANIFEST, Descriptor, ImageConfig, Manifest
from builder.oci.reference import Digest, Hub, ImageReference, Platform, parse_tag, redact_url
from builder.plan.lock import FileArtifact
from builder.plan.user import User
from builder.publish.history import HISTORY_ANNOTATION, UnreadableHistory, decode_history
from builder.publish.hub_record import ANNOTATION, RECORD_TYPE, _sum, read_record, record_reference
from builder.publish.journal import Journal
from builder.publish.release_file import RELEASE_FILE, ReleaseFile
from builder.recipe.istio_release import IstioRelease, ReleaseRange
from builder.recipe.schema import ReleaseRecipe, read_image
from builder.recipe.template import render_dockerfile, render_text
from builder.recipe.yaml_file import read_yaml, validate
from builder.registry.auth import _parse_token, parse_challenges
from builder.registry.blob_pull import BlobPull
from builder.registry.blob_push import _kept_bytes
from builder.registry.connection import RegistryConnection
from builder.registry.keychain import docker_credentials
from builder.registry.response import Answer, media_type_of, next_page, warnings_of
from builder.resolve.own_files import first_field
from builder.resolve.source import read_source
from builder.rootfs.deb import open_member, read_control
from builder.rootfs.inherited_accounts import find_account_files
from builder.rootfs.passwd import AccountFiles, add_subordinate_ids, add_users
from builder.runtime.progress import Progress
from builder.runtime.retry import RetryableError
from tests import ROOT
from tests.fakes.downloader import FakeDownloader
from tests.fakes.runner import FakeRunner, go_build
from tests.samples.debs import control_of, make_deb
from tests.samples.images import AMD64, SampleFile, config_json, make_config, make_digest, make_tar
from tests.samples.plans import make_state
from tests.samples.programs import make_elf, make_go_program, make_mach_o, make_old_go_program, make_pe

NOW = 1_700_000_000.0

settings.register_profile(
    "few",
    max_examples=12,
    deadline=None,
    derandomize="CI" in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
few = settings.get_profile("few")

TEXTS = st.text(max_size=200) | st.text(alphabet='0123456789²-+:/.,;=%[]{}@?# eE"\\\n', max_size=100)
BYTES = st.binary(max_size=400) | TEXTS.map(lambda text: text.encode(errors="replace"))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
DEEP = b"[" * 60_000
LONG_NUMBER = b"1" * 5000
WHOLE = {"mediaType": MANIFEST, "digest": str(make_digest("a")), "size": 1, "platform": {"os": "linux", "architecture": "arm64"}}
INDEX = {"manifests": [{**WHOLE, "annotations": {"a": "b"}}], "layers": [WHOLE], "config": WHOLE, "annotations": {"a": "b"}}
CONFIG = json.loads(config_json(make_config(AMD64), [str(make_digest("a"))]))


def with_sum(record: str) -> str:
    """A record with the sum that belongs to it, where it is an object."""
    try:
        body = json.loads(record)
    except (ValueError, RecursionError):
        return record
    return json.dumps({**body, "sum": _sum(body)}) if isinstance(body, dict) else record


def survives(parse: Callable[[], object]) -> None:
    """Nothing but errors of ours, each with something to say."""
    told = ""
    try:
        parse()
        return
    except BuilderError as error:
        told = error.message
    except RetryableError as failure:
        told = failure.error.message
    assert told


def changed(valid: bytes) -> st.SearchStrategy[bytes]:
    """Valid input with some bytes changed, cut off, taken out or doubled."""

    def change(seed: int) -> bytes:
        chance = random.Random(seed)
        data = bytearray(valid)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0:
                    data[place : place + 1] = bytes([chance.randrange(256)])
                case 1:
                    del data[place : place + chance.randint(1, 600)]
                case 2:
                    data[place:place] = data[max(0, place - 512) : place]
                case 3:
                    data[place : place + 1] = chance.choice([b"0", b"9", b"-", b"[", b"{", b'"', b"null", b"\0", b"\xff"])
        return bytes(data)

    return st.integers(0, 1 << 32).map(change)


@st.composite
def documents(draw: st.DrawFn, valid: Any) -> bytes:  # noqa: ANN401 - JSON
    """A valid JSON document with one value replaced by another, of any type."""
    document = json.loads(json.dumps(valid))
    places: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        value = pending.pop()
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                pending.append(value[key])
    holder, key = draw(st.sampled_from(places))
    holder[key] = draw(JSON)
    return json.dumps(document).encode()


@contextlib.contextmanager
def file_of(content: bytes, name: str = "file") -> Any:  # noqa: ANN401 - a context manager
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, name)
        path.write_bytes(content)
        yield path


class TestYaml:
    PROJECT = b"hub: docker.io/me\nimages: [pilot, proxyv2]\nplatforms: [linux/amd64]\n"
    RECIPE = (ROOT / "recipes" / "pilot.yaml").read_bytes()

    @few
    @given(BYTES | changed(PROJECT) | changed(RECIPE))
    @example(b"a: !!bool maybe")
    @example(b'a: !!int ""')
    @example(b"a: 1" + b":1" * 100_000)
    @example(b"a: !!int {=: '1" + b":1" * 1000 + b"'}")
    @example(b"a: " + LONG_NUMBER)
    @example(b"a: 1.0e+999999")
    @example(b"a: 2026-01-01T00:00:00+99:99")
    @example(b"a: &" + b"x" * 100_000 + b" 1")
    @example(DEEP)
    @example(b"- " * 60_000)
    @example(b"\n".join(b" " * level + b"a:" for level in range(1000)))
    @example(b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d" % (n - 1) if n else b"") for n in range(5000)))
    @example(b"a: &a\n  <<: *a\n")
    @example(b"".join(b"k%d: 1\n" % number for number in range(20_000)))
    def test_a_project_file_or_recipe(self, content: bytes) -> None:
        with file_of(content, "x.yaml") as path:
            for model in (ProjectFile, ReleaseRecipe):
                survives(lambda model=model: validate(model, read_yaml(path)))  # type: ignore[misc]
            survives(lambda: read_image(read_yaml(path)))

    @pytest.mark.parametrize("kind", ["aliases", "merges"])
    def test_aliases_count_as_what_they_stand_for(self, tmp_path: Path, kind: str) -> None:
        first, use = ("&a0 [x, x]", "[{0}, {0}]") if kind == "aliases" else ("&a0 {x: 1, y: 1}", "{{<<: [{0}, {0}]}}")
        lines = [f"a0: {first}", *(f"a{n}: &a{n} " + use.format(f"*a{n - 1}") for n in range(1, 40))]
        (tmp_path / "x.yaml").write_text("\n".join(lines))
        with pytest.raises(RecipeError, match=r"x\.yaml:\d+: (more than 100000 values|nested too deeply)"):
            read_yaml(tmp_path / "x.yaml")


class TestJson:
    @few
    @given(BYTES | documents(INDEX))
    @example(DEEP)
    @example(b'{"annotations": ' + DEEP)
    @example(b'{"annotations": {"a": 1}}')
    @example(b'{"annotations": {"a": "\\ud800"}}')
    @example(b'{"layers": [{"digest": "%s", "size": 1e999}]}' % str(make_digest("a")).encode())
    @example(b'{"layers": [{"digest": "x", "size": ' + LONG_NUMBER + b"}]}")
    def test_a_manifest(self, content: bytes) -> None:
        manifest = Manifest(media_type=MANIFEST, content=content)
        for read in (manifest.children, manifest.config, manifest.layers, manifest.annotations):
            survives(read)

    @pytest.mark.parametrize("size", [True, 1.0, 1e999, -1, 1 << 63, "1", None, []])
    def test_a_size_is_a_whole_number_of_64_bits(self, size: object) -> None:
        content = json.dumps({"layers": [{**WHOLE, "size": size}]}).encode()
        with pytest.raises(RegistryError, match=r"malformed|not JSON"):
            Manifest(media_type=MANIFEST, content=content).layers()

    @pytest.mark.parametrize(
        "change", [{"mediaType": 1}, {"platform": {"os": 1, "architecture": "a"}}, {"platform": []}, {"digest": ["a"]}]
    )
    def test_a_descriptor_is_of_the_right_types(self, change: dict[str, object]) -> None:
        content = json.dumps({"layers": [{**WHOLE, **change}]}).encode()
        with pytest.raises(RegistryError, match="malformed"):
            Manifest(media_type=MANIFEST, content=content).layers()

    @few
    @given(BYTES | documents(CONFIG))
    @example(DEEP)
    @example(b'{"os":"linux","architecture":"amd64","config":{"Env":"PATH","Labels":{"a":["b"]}}}')
    @example(b'{"os":["linux"],"architecture":"amd64"}')
    def test_an_image_configuration(self, content: bytes) -> None:
        survives(lambda: hash(ImageConfig.parse(content)))

    @few
    @given(BYTES | documents(INDEX))
    @example(DEEP)
    @example(b'{"manifests": [{"digest": "sha256:0", "size": Infinity}]}')
    @example(b'{"manifests": {"a": 1}}')
    @example(b'{"manifests": [[]]}')
    def test_a_layout(self, content: bytes) -> None:
        with file_of(content, "index.json") as path:
            layout = Layout(path.parent)
            for read in (layout.root_descriptor, layout.index, lambda: LayoutNotes.read(layout)):
                survives(read)

    @few
    @given(
        BYTES
        | documents(
            {
                "schemaVersion": 2,
                "version": "1.29.0",
                "hub": "r.test/x",
                "made": {"Go": "1"},
                "platforms": ["linux/amd64"],
                "images": [{"image": "a", "variant": "debug", "digest": str(make_digest("a")), "inputs": {"linux/amd64": "b"}}],
            }
        )
    )
    @example(DEEP)
    def test_what_a_directory_holds(self, content: bytes) -> None:
        with file_of(content, RELEASE_FILE) as path:
            survives(lambda: ReleaseFile.read(path.parent))

    @few
    @given(BYTES | documents({"tags": [{"reference": "r.test/a:1", "before": None, "after": str(make_digest("a"))}]}))
    def test_a_journal(self, content: bytes) -> None:
        with tempfile.TemporaryDirectory() as directory:
            journal = Journal(Path(directory), [Hub.parse("r.test/x").repository("a")])
            journal._path("r.test/x").write_bytes(content)
            survives(journal.unfinished)

    @few
    @given(
        documents(
            {"version": 1, "state": "left", "lease": None, "journal": {"run": "1", "moves": {"r.test/a": [["", "x", ["1"]]]}}}
        )
        | BYTES
    )
    @example(DEEP)
    @example(b'{"version": 1, "lease": {"seconds": 1e400}}')
    def test_a_record_at_a_hub(self, content: bytes) -> None:
        """Also one whose sum is right, as who writes another can sum it up, too."""
        reference = record_reference(Hub.parse("r.test/x").repository("a"))
        text = content.decode(errors="replace")
        survives(lambda: read_record(reference, Manifest(media_type=INDEX_TYPE, content=content)))
        for summed in (text, with_sum(text)):
            document = {"artifactType": RECORD_TYPE, "manifests": [], "annotations": {ANNOTATION: summed}}
            manifest = Manifest(media_type=INDEX_TYPE, content=json.dumps(document).encode())
            survives(partial(read_record, reference, manifest))

    @given(BYTES | documents({"version": 1, "releases": [{"id": "a", "images": [{"image": "a", "digest": "x", "tags": ["1"]}]}]}))
    def test_a_history(self, content: bytes) -> None:
        index = {"manifests": [], "annotations": {HISTORY_ANNOTATION: content.decode(errors="replace")}}
        for text in (json.dumps(index).encode(), content):
            with contextlib.suppress(UnreadableHistory):
                decode_history(Manifest(media_type=MANIFEST, content=text))

    @few
    @given(BYTES | documents({"auths": {"r.test": {"auth": "YTpi"}}, "credHelpers": {"x": "y"}, "credsStore": ""}))
    @example(DEEP)
    @example(b'["a"]')
    @example(b'{"credHelpers": true, "auths": {}}')
    @example(b'{"credsStore": ["x"]}')
    def test_dockers_configuration(self, content: bytes) -> None:
        with file_of(content, "config.json") as path:
            survives(lambda: docker_credentials({"DOCKER_CONFIG": str(path.parent), "PATH": ""}, FakeRunner(go_build))("r.test"))

    @few
    @given(BYTES | documents({"vertexes": [{"name": "a", "started": "x"}], "logs": [{"data": "YQ=="}]}))
    @example(b"{" * 60_000)
    @example(b'{"logs": [{"data": "x"}]}')
    @example(b'{"vertexes": [1], "logs": 7}')
    def test_a_line_of_buildx(self, content: bytes) -> None:
        log = BuildLog(lambda _: None)
        survives(lambda: log.read_line("{" + content.decode(errors="replace").lstrip("{")))
        survives(lambda: (log.output(), log.cause(""), log.excerpt()))


def answer(content: bytes = b"", **headers: str) -> Answer:
    return Answer(method="GET", url="https://r.test/v2/", status=500, headers=headers, content=content)


class TestRegistry:
    @few
    @given(BYTES | documents({"errors": [{"code": "A", "message": "b"}], "mediaType": "c"}))
    @example(DEEP)
    @example(b'{"errors": [{"code": ["a"], "message": {"b": 1}}]}')
    @example(b"<html>" + b"<" * 60_000)
    @example(b"<html>" + b"<title>" * 10_000)
    def test_an_error_body(self, content: bytes) -> None:
        found = answer(content)
        survives(lambda: (found.explanation, found.code, found.says_not_found, media_type_of(found)))

    @few
    @given(BYTES | documents({"token": "a", "access_token": "b", "expires_in": 300}))
    @example(DEEP)
    @example(b'{"token": "a", "expires_in": NaN}')
    @example(b'{"token": "a", "expires_in": 1e999}')
    @example(b'{"token": "a", "expires_in": ' + b"9" * 400 + b"}")
    @example(b'{"token": {"a": 1}}')
    def test_a_token(self, content: bytes) -> None:
        def parse() -> None:
            _, seconds = _parse_token("log in", answer(content))
            assert 1 <= seconds <= 86400

        survives(parse)

    @few
    @given(BYTES | documents({"manifests": [WHOLE]}), TEXTS)
    @example(DEEP, "")
    @example(b'{"manifests": [{}]}', '<http://[::1/x>; rel="next"')
    @example(b"{}", "<" * 60_000)
    @example(b"{}", "<x>;" + " " * 60_000)
    def test_a_list_of_referrers(self, content: bytes, link: str) -> None:
        found = answer(content, Link=link)
        survives(lambda: media_type_of(found))
        survives(lambda: Manifest(media_type=INDEX_TYPE, content=content).children())
        survives(lambda: next_page(found))

    @few
    @given(TEXTS)
    @example('299 - "' + "\\" * 60_000)
    @example('299 - "' * 10_000)
    def test_a_warning(self, text: str) -> None:
        assert all(warning.isprintable() and len(warning) <= 301 for warning in warnings_of({"Warning": text}))

    @few
    @given(TEXTS)
    @example("0-" + "9" * 5000)
    @example("0-²")
    def test_how_much_of_an_upload_is_there(self, text: str) -> None:
        found = Answer(method="GET", url="https://r.test/v2/", status=204, headers={"Range": text}, content=b"")
        assert _kept_bytes(found) >= 0

    @few
    @given(TEXTS)
    @example('Bearer realm="' + "\\" * 60_000)
    @example("a " * 30_000)
    @example("a" + " " * 60_000)
    @example("a=" * 30_000)
    def test_a_challenge(self, text: str) -> None:
        survives(lambda: parse_challenges({"WWW-Authenticate": text}))

    @few
    @given(TEXTS)
    @example("²")
    @example("9" * 5000)
    @example("Fri, 31 Dec 99999 23:59:59 GMT")
    @example("Fri, 31 Dec 9999 23:59:59 -9999")
    @example("Fri, 31 Dec 0001 00:00:00 +2359")
    @example("-5")
    @example("1" * 60_000 + " Jan")
    def test_when_to_try_again(self, text: str) -> None:
        assert retry_after_seconds(text, NOW) >= 0

    @few
    @given(TEXTS)
    @example("http://[::1/x")
    @example("https://r.test:99999/x")
    @example("https://r.test:x/")
    @example("//[/")
    def test_where_to_go_on(self, text: str) -> None:
        connection = RegistryConnection(
            "r.test",
            plain=False,
            credentials=lambda _: None,
            certificates=Path("/nonexistent"),
            waiting=Waiting(),
            clock=lambda: 0.0,
        )
        survives(lambda: connection.resolve_location(answer(Location=text)))

    @few
    @given(TEXTS)
    @example("bytes ²-")
    @example("bytes " + "9" * 5000 + "-")
    def test_which_part_comes(self, text: str) -> None:
        with tempfile.TemporaryDirectory() as directory, PartialFile.open(Path(directory, "x"), lambda _: None) as part:
            part.append(b"abc")
            descriptor = Descriptor(media_type="", digest=make_digest("a"), size=10)
            survives(lambda: BlobPull("pull", descriptor, part, lambda _: None).start(206, {"Content-Range": text}))
            response = requests.Response()
            response.status_code = 206
            response.headers["Content-Range"] = response.headers["Content-Length"] = text
            survives(lambda: _Transfer("https://r.test/x", part, lambda *_: None).accept(response))
            response.status_code = 200
            survives(lambda: _Transfer("https://r.test/x", part, lambda *_: None).accept(response))

    @few
    @given(st.lists(st.binary(max_size=8), max_size=8))
    def test_no_more_comes_than_was_announced(self, chunks: list[bytes]) -> None:
        with tempfile.TemporaryDirectory() as directory, PartialFile.open(Path(directory, "x"), lambda _: None) as part:
            pull = BlobPull("pull", Descriptor(media_type="", digest=make_digest("a"), size=10), part, lambda _: None)

            def take() -> None:
                for chunk in chunks:
                    pull.take(chunk)

            survives(take)
            assert part.size <= 10


class TestNames:
    @few
    @given(TEXTS)
    @example("a" * 60_000)
    @example("a-" * 30_000)
    @example("https://h" + "?" * 60_000)
    @example("١.٢.٣")
    @example("1.2." + "3" * 5000)
    def test_names_of_all_kinds(self, text: str) -> None:
        parsers: tuple[Callable[[str], object], ...] = (
            Hub.parse,
            ImageReference.parse,
            Platform.parse,
            Digest,
            parse_tag,
            redact_url,
            IstioRelease.parse,
            IstioRelease.of_line,
            ReleaseRange.parse,
            lambda text: first_field(text, "https://h/x.sha256"),
            _local_path,
        )
        for parse in parsers:
            survives(lambda parse=parse: parse(text))  # type: ignore[misc]


def _long_named(kind: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name in ("long/" * 60 + "a", "b"):
            header = tarfile.TarInfo(name)
            header.mtime, header.size = 1.5, 5
            tar.addfile(header, io.BytesIO(b"hello"))
    return buffer.getvalue()


class TestArchives:
    TAR = make_tar(
        [
            SampleFile(path="/etc/passwd", content=b"root:x:0:0::/:/bin/sh\n"),
            SampleFile(path="/etc/group", content=b"root:x:0:\n"),
            SampleFile(path="/usr/bin/x", content=make_elf("arm64")),
            SampleFile(path="/etc/skel/x", content=b"x" * 600),
        ]
    )
    # With long names and fractional times, as GNU tar and buildkit write them.
    OTHERS = (_long_named(tarfile.GNU_FORMAT), _long_named(tarfile.PAX_FORMAT))
    LAYERS: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "+gzip": gzip.compress,
        "+zstd": zstandard.ZstdCompressor().compress,
    }

    @pytest.mark.parametrize("kind", LAYERS)
    @few
    @given(data=st.data())
    def test_a_layer(self, kind: str, data: st.DataObject) -> None:
        archive = data.draw(BYTES | st.sampled_from([self.TAR, *self.OTHERS]).flatmap(changed))
        content = data.draw(st.just(self.LAYERS[kind](archive)) | changed(self.LAYERS[kind](self.TAR)))
        media_type = f"application/vnd.oci.image.layer.v1.tar{kind}"
        with file_of(content) as path:
            survives(lambda: read_layer(path, media_type))
            survives(lambda: find_account_files([(path, media_type)]))

    @few
    @given(data=st.data())
    def test_an_artifact(self, data: st.DataObject) -> None:
        archive = data.draw(BYTES | st.sampled_from([self.TAR, *self.OTHERS]).flatmap(changed))
        content = data.draw(st.just(gzip.compress(archive)) | changed(gzip.compress(self.TAR)))
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "archive")
            path.write_bytes(content)
            artifact = FileArtifact(name="x", platform=AMD64, path=str(path), sha256=Digest.of(content).hex, member="usr/bin/x")

            def take() -> None:
                with Progress(lambda event: None).task("fetch", "x") as task:
                    fetch_artifact(artifact, Path(directory, "cache"), FakeDownloader({str(path): content}), task)

            survives(take)
            assert {entry.name for entry in Path(directory).iterdir()} == {"archive", "cache"}

    @pytest.mark.parametrize("compression", ["", "gz", "xz", "zst"])
    @few
    @given(data=st.data())
    def test_a_debian_package(self, compression: str, data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = make_deb(Path(directory, "x.deb"), control_of("x"), [SampleFile(path="./x")], compression)
            path.write_bytes(data.draw(BYTES | changed(path.read_bytes())))
            survives(lambda: read_control(path))

            def read_data() -> None:
                with open_member(path, "data") as tar:
                    for member in tar:
                        tar.extractfile(member) if member.isreg() else None

            survives(read_data)

    @few
    @given(BYTES | changed(make_elf("amd64")) | changed(make_mach_o("arm64")) | changed(make_pe("arm64")))
    @example(b"\x7fELF")
    @example(b"\x7fELF\x02\x01" + b"\xff" * 58)
    @example(b"MZ" + b"\xff" * 62)
    def test_a_program(self, content: bytes) -> None:
        for system in ("linux", "darwin", "windows"):
            fits, what = is_program_for(io.BytesIO(content), Platform(system, "arm64"))
            assert isinstance(fits, bool)
            assert what

    @few
    @given(BYTES | changed(make_go_program("arm64", stamps=("1.29.0",))) | changed(make_old_go_program()))
    @example(b"\xff Go buildinf:\x08\x02".ljust(32, b"\0") + b"\xff" * 10)
    @example(b"\xff Go buildinf:\x08\0" + b"\xff" * 64)
    @example(make_elf("amd64")[:32] + b"\xff" * 40 + b"\xff Go buildinf:\x08\0".rjust(24, b"\0") + b"\0" * 32)
    def test_what_go_wrote_into_a_program(self, content: bytes) -> None:
        found = read_build_info(content)
        assert found is None or found.go.startswith(("go", "devel"))


TREE = ["go.mod", "VERSION", "istio.deps", "Makefile.core.mk"]
TEMPLATE = b"{% for a in x %}{{ a | quoted }}{% endfor %}"


class TestTexts:
    @few
    @given(changed(b"root:x:0:0:root:/root:/bin/sh\na:100000:65536\nb:1:\n") | BYTES)
    @example(b"a:" + LONG_NUMBER + b":1\n")
    def test_account_files(self, content: bytes) -> None:
        text = content.decode(errors="replace")
        user = User(name="istio", uid=1337, gid=1337, home="/home/istio", shell="/bin/sh")
        # Whoever reads an image says whose accounts these are, and so makes an error of ours of it.
        with contextlib.suppress(ValueError):
            add_users(AccountFiles(passwd=text, group=text, shadow=text, gshadow=text), [user], 0)
        with contextlib.suppress(ValueError):
            add_subordinate_ids(text, [user])

    @few
    @given(
        BYTES | changed(b"module istio.io/istio\n\ngo 1.25.0\n"),
        st.sampled_from(TREE),
    )
    def test_a_source_tree(self, content: bytes, name: str) -> None:
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory)
            (tree / "go.mod").write_text("module istio.io/istio\n\ngo 1.25.0\n")
            (tree / "Makefile.core.mk").write_text("BASE_VERSION ?= 1.29-x\n")
            (tree / "VERSION").write_text("1.29\n")
            (tree / "istio.deps").write_text("[]")
            (tree / name).write_bytes(content)
            survives(lambda: read_source(tree, lambda _: make_state()))

    @few
    @given(
        TEXTS
        | TEXTS.map(lambda text: f"{{{{ {text} }}}}")
        | changed(TEMPLATE).map(lambda content: content.decode(errors="replace"))
    )
    @example("{{ 'a' * 10 ** 10 }}")
    @example("{{ '%1000000000d' % 1 }}")
    @example("{{ 'a'.ljust(10 ** 10) }}")
    @example("{{ 'a' | center(10 ** 10) }}")
    @example("{{ '{:>1000000000}'.format(1) }}")
    @example("{{ (10 ** 18) ** 64 ** 64 }}")
    @example("{% set a = 'x' * 1000 %}" + "{% set a = a ~ a %}" * 40)
    @example("{% set a = [1, 2] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}")
    @example("{% set a = 'x' * 1000 %}{% for b in a %}{% for c in a %}{% for d in a %}{% endfor %}{% endfor %}{% endfor %}")
    @example("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")
    @example("{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}")
    @example("{% for a in x %}" * 30 + "{% endfor %}" * 30)
    @example("{{ " + "(" * 60_000)
    @example("{{ " + "9" * 5000 + " }}")
    @example("{{ 'a' }}" + " " * 300_000)
    @example("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
    @example("{{ lipsum(n=100000) }}")
    def test_an_expression_or_template(self, text: str) -> None:
        survives(lambda: render_text(text, {"x": ("a", "b")}, "here"))
        survives(lambda: render_dockerfile({"t": text}, "t", {"x": ("a", "b")}))
