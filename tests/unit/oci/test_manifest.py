"""Descriptors, manifests and configurations: what is read of them, and what becomes of malformed ones."""

import json
from typing import Any

import pytest

from builder.errors import RegistryError, RequestError
from builder.oci.manifest import (
    CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Descriptor,
    ImageConfig,
    Manifest,
    compose_index,
)
from builder.oci.reference import Digest, Platform
from tests.samples.images import AMD64, ARM64, make_digest


def manifest(document: object, media_type: str = MANIFEST) -> Manifest:
    return Manifest(media_type=media_type, content=json.dumps(document).encode())


def entry(name: str, platform: Platform | None = None) -> Descriptor:
    return Descriptor(media_type=MANIFEST, digest=make_digest(name), size=7, platform=platform)


class TestDescriptor:
    def test_is_written_as_it_is_read(self) -> None:
        for value in (entry("a"), entry("a", ARM64)):
            assert Descriptor.from_json(value.to_json()) == value

    def test_a_variant_of_a_platform_is_not_told_apart(self) -> None:
        value = entry("a", ARM64).to_json()
        value["platform"]["variant"] = "v8"
        assert Descriptor.from_json(value).platform == ARM64

    def test_a_bad_digest_or_a_missing_field_is_an_error(self) -> None:
        with pytest.raises(RequestError):
            Descriptor.from_json({"digest": "sha256:0", "size": 1})
        with pytest.raises(KeyError):
            Descriptor.from_json({"digest": str(make_digest("a"))})


class TestManifest:
    def test_its_digest_is_of_the_very_bytes(self) -> None:
        spaced = Manifest(media_type=MANIFEST, content=b'{ "schemaVersion": 2 }')
        assert spaced.digest == Digest.of(b'{ "schemaVersion": 2 }')
        assert spaced.descriptor == Descriptor(media_type=MANIFEST, digest=spaced.digest, size=22)

    @pytest.mark.parametrize(
        ("media_type", "is_index"), [(INDEX, True), (DOCKER_INDEX, True), (MANIFEST, False), (DOCKER_MANIFEST, False)]
    )
    def test_docker_and_oci_have_indexes(self, media_type: str, is_index: bool) -> None:
        assert manifest({}, media_type).is_index == is_index

    def test_an_image_has_a_configuration_and_layers_in_order(self) -> None:
        config = Descriptor(media_type=CONFIG, digest=make_digest("config"), size=1)
        layers = tuple(entry(name) for name in ("base", "ours"))
        document = {"config": config.to_json(), "layers": [layer.to_json() for layer in layers]}
        assert manifest(document).config() == config
        assert manifest(document).layers() == layers

    def test_what_is_missing_or_null_is_empty(self) -> None:
        for document in ({}, {"layers": None, "manifests": None, "annotations": None}):
            assert manifest(document).layers() == ()
            assert manifest(document, INDEX).children() == ()
            assert manifest(document, INDEX).annotations() == {}

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe", b"<html>"])
    def test_that_is_no_json_object_is_an_error(self, content: bytes) -> None:
        with pytest.raises(RegistryError, match="is not"):
            Manifest(media_type=MANIFEST, content=content).json()

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"digest": "sha256:0", "size": 1},
            {"digest": str(make_digest("a"))},
            {"digest": str(make_digest("a")), "size": "big"},
            {"digest": None, "size": 1},
            {"digest": str(make_digest("a")), "size": 1, "platform": {"os": "linux"}},
            {"digest": str(make_digest("a")), "size": 1, "platform": "linux/arm64"},
            "sha256:0",
            None,
            7,
        ],
    )
    def test_with_a_malformed_descriptor_is_an_error(self, value: object) -> None:
        with pytest.raises(RegistryError, match="malformed descriptor"):
            manifest({"manifests": [value]}, INDEX).children()
        with pytest.raises(RegistryError, match="malformed descriptor"):
            manifest({"layers": [value]}).layers()

    @pytest.mark.parametrize("layers", [7, {"a": "b"}, "text"])
    def test_with_something_else_than_a_list_is_an_error(self, layers: object) -> None:
        with pytest.raises(RegistryError, match="malformed descriptor"):
            manifest({"layers": layers}).layers()

    def test_without_a_configuration_is_an_error(self) -> None:
        with pytest.raises(RegistryError, match="malformed descriptor"):
            manifest({"layers": []}).config()


class TestImageConfig:
    DOCUMENT: dict[str, Any] = {
        "architecture": "arm64",
        "os": "linux",
        "config": {
            "User": "1337:1337",
            "Env": ["PATH=/bin", "EMPTY=", "EQUALS=a=b", "BARE"],
            "Entrypoint": ["/a"],
            "Cmd": ["b"],
            "WorkingDir": "/w",
            "Labels": {"z": "1", "a": "2"},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]},
    }

    def test_says_how_an_image_is_run(self) -> None:
        assert ImageConfig.parse(json.dumps(self.DOCUMENT).encode()) == ImageConfig(
            platform=ARM64,
            user="1337:1337",
            env=(("PATH", "/bin"), ("EMPTY", ""), ("EQUALS", "a=b"), ("BARE", "")),
            entrypoint=("/a",),
            command=("b",),
            working_dir="/w",
            labels=(("a", "2"), ("z", "1")),
            diff_ids=("sha256:1", "sha256:2"),
        )

    def test_says_what_else_there_is_in_one_form(self) -> None:
        more = {"StopSignal": "SIGQUIT", "Volumes": {"/b": {}, "/a": {}}, "Shell": [], "AttachStdin": False, "OnBuild": None}
        document = {**self.DOCUMENT, "config": {**self.DOCUMENT["config"], **more}, "author": "me"}
        assert ImageConfig.parse(json.dumps(document).encode()).others == (
            ("StopSignal", '"SIGQUIT"'),
            ("Volumes", '{"/a":{},"/b":{}}'),
            ("author", '"me"'),
        )

    @pytest.mark.parametrize("config", [None, {}, {"Env": None, "Cmd": None, "Entrypoint": None, "Labels": None}])
    def test_what_is_missing_or_null_is_empty(self, config: object) -> None:
        document = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": None}
        assert ImageConfig.parse(json.dumps(document).encode()) == ImageConfig(platform=AMD64)

    @pytest.mark.parametrize(
        "content",
        [b"", b"[]", b"7", b"{}", b'{"os": "linux"}', b"\xff", b'{"os":"linux","architecture":"a","config":{"Env":[1]}}'],
    )
    def test_that_is_malformed_is_an_error(self, content: bytes) -> None:
        with pytest.raises(RegistryError, match="malformed"):
            ImageConfig.parse(content)


class TestComposingAnIndex:
    def test_the_same_images_give_the_same_bytes_in_any_order(self) -> None:
        one = compose_index((entry("a", AMD64), entry("b", ARM64)), {"x": "1", "a": "2"})
        other = compose_index((entry("b", ARM64), entry("a", AMD64)), {"a": "2", "x": "1"})
        assert one == other
        assert [child.platform for child in one.children()] == [AMD64, ARM64]

    def test_it_says_of_itself_what_it_is(self) -> None:
        index = compose_index((entry("a", AMD64),), {"x": "1"})
        document = index.json()
        # image-spec v1.1, image-index.md: schemaVersion must be 2, and mediaType this one.
        assert (document["schemaVersion"], document["mediaType"]) == (2, INDEX)
        assert index.is_index
        assert index.annotations() == {"x": "1"}

    def test_tells_the_platforms_that_have_an_image(self) -> None:
        attestation = Platform("unknown", "unknown")
        index = compose_index((entry("a", AMD64), entry("b", ARM64), entry("c", attestation)), {})
        assert index.platforms() == (AMD64, ARM64)
        assert index.child_for(ARM64) == entry("b", ARM64)
        assert compose_index((entry("a", AMD64),), {}).child_for(ARM64) is None
