"""Names of things in registries: what is understood, what is refused, and what is never printed."""

import pytest

from builder.errors import RequestError
from builder.oci.reference import Digest, Hub, ImageReference, Platform, Repository, is_registry_host, parse_tag, redact_url
from tests.samples.images import AMD64, ARM64, make_digest

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


class TestPlatform:
    @pytest.mark.parametrize(
        ("text", "platform"),
        [
            ("linux/amd64", AMD64),
            ("linux/arm64", ARM64),
            ("linux/arm64/v8", ARM64),
            ("linux/aarch64", ARM64),
            ("linux/aarch64/v8", ARM64),
            ("linux/x86_64", AMD64),
            (" Linux/ARM64 ", ARM64),
        ],
    )
    def test_is_understood_under_its_names(self, text: str, platform: Platform) -> None:
        assert Platform.parse(text) == platform

    @pytest.mark.parametrize(
        "text",
        [
            "linux/arm/v7",
            "linux/arm",
            "linux/386",
            "windows/amd64",
            "linux/s390x",
            "arm64",
            "linux",
            "",
            "linux/amd64/v8",
            "a/b/c/d",
        ],
    )
    def test_that_istio_does_not_support_is_refused_naming_those_that_it_does(self, text: str) -> None:
        with pytest.raises(RequestError) as raised:
            Platform.parse(text)
        assert repr(text) in raised.value.message
        assert "linux/amd64 and linux/arm64 only" in raised.value.hint

    def test_says_its_name_and_a_name_for_files(self) -> None:
        assert (str(ARM64), ARM64.slug) == ("linux/arm64", "linux_arm64")
        assert sorted([ARM64, AMD64]) == [AMD64, ARM64]


class TestDigest:
    def test_is_of_bytes(self) -> None:
        # The sum of nothing, as in FIPS 180-4's test vectors.
        assert Digest.of(b"").hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        assert Digest.of(b"").short == "e3b0c44298fc"
        assert str(Digest(DIGEST)) == DIGEST

    @pytest.mark.parametrize(
        "text", ["", "sha256:", DIGEST[:-1], f"{DIGEST}0", DIGEST.upper(), DIGEST.replace("sha256", "sha512"), f"{DIGEST}\n"]
    )
    def test_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(RequestError, match="is not a sha256 digest"):
            Digest(text)


class TestHub:
    @pytest.mark.parametrize(
        ("text", "repository"),
        [
            ("docker.io/me", "docker.io/me/pilot"),
            ("docker.io/me/", "docker.io/me/pilot"),
            (" docker.io/me ", "docker.io/me/pilot"),
            ("index.docker.io/me", "docker.io/me/pilot"),
            ("localhost", "localhost/pilot"),
            ("localhost:5000", "localhost:5000/pilot"),
            ("localhost:5000/istio", "localhost:5000/istio/pilot"),
            ("127.0.0.1:5000/istio", "127.0.0.1:5000/istio/pilot"),
            ("[::1]:5000/istio", "[::1]:5000/istio/pilot"),
            ("registry.corp.example/a/b-c/d_e/f__g/h.i", "registry.corp.example/a/b-c/d_e/f__g/h.i/pilot"),
            ("Registry.Corp.Example/istio", "Registry.Corp.Example/istio/pilot"),
        ],
    )
    def test_is_a_registry_and_a_path(self, text: str, repository: str) -> None:
        assert str(Hub.parse(text).repository("pilot")) == repository

    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            ("https://docker.io/me", "must not have a scheme", "Leave out https://."),
            ("docker://docker.io/me", "must not have a scheme", "Leave out docker://."),
            ("me", "does not start with a registry", "Did you mean docker.io/me?"),
            ("me/istio", "does not start with a registry", "Did you mean docker.io/me/istio?"),
            ("", "does not start with a registry", "Did you mean docker.io/me?"),
            ("/istio", "does not start with a registry", ""),
            ("docker.io", "lacks your name at Docker Hub", "docker.io/me"),
            ("docker.io/me:1.29", "must not have a tag", "--tag"),
            ("docker.io/me@sha256:0", "credentials or a digest", "docker login"),
            ("user:hunter2@docker.io/me", "credentials or a digest", "docker login"),
            ("docker.io/Me", "malformed at 'Me'", "lower-case"),
            ("docker.io//me", "malformed at ''", "lower-case"),
            ("docker.io/-me", "malformed at '-me'", ""),
            ("docker.io/a..b", "malformed at 'a..b'", ""),
            ("docker.io/me istio", "malformed at 'me istio'", ""),
            ("registry.corp.example:port/istio", "does not start with a registry", ""),
            ("-registry.example/istio", "does not start with a registry", ""),
        ],
    )
    def test_that_is_malformed_is_refused_with_what_to_write(self, text: str, message: str, hint: str) -> None:
        with pytest.raises(RequestError) as raised:
            Hub.parse(text)
        assert message in raised.value.message
        assert hint in raised.value.hint
        assert "registry.corp.example:5000/istio" in raised.value.hint

    @pytest.mark.parametrize("text", ["https://user:hunter2@docker.io/me", "user:hunter2@docker.io/me"])
    def test_a_password_in_it_is_not_repeated(self, text: str) -> None:
        with pytest.raises(RequestError) as raised:
            Hub.parse(text)
        assert "hunter2" not in raised.value.message + raised.value.hint


class TestImageReference:
    @pytest.mark.parametrize(
        ("text", "whole"),
        [
            # As Docker does: https://github.com/distribution/reference/blob/v0.6.0/normalize_test.go
            ("ubuntu", "docker.io/library/ubuntu:latest"),
            ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
            ("docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
            ("docker.io/library/ubuntu", "docker.io/library/ubuntu:latest"),
            ("index.docker.io/istio/base:1", "docker.io/istio/base:1"),
            ("istio/base:1", "docker.io/istio/base:1"),
            ("localhost/base", "localhost/base:latest"),
            ("localhost:5000/base", "localhost:5000/base:latest"),
            ("localhost:5000/a/b/base:1", "localhost:5000/a/b/base:1"),
            ("registry.corp.example/base:V_1.2-x", "registry.corp.example/base:V_1.2-x"),
            ("[::1]:5000/base:1", "[::1]:5000/base:1"),
            (f"ubuntu@{DIGEST}", f"docker.io/library/ubuntu@{DIGEST}"),
            (f"localhost:5000/base:1@{DIGEST}", f"localhost:5000/base:1@{DIGEST}"),
        ],
    )
    def test_is_read_as_docker_reads_it(self, text: str, whole: str) -> None:
        assert str(ImageReference.parse(text)) == whole
        # What is printed can be read again, and is the same then.
        assert ImageReference.parse(whole) == ImageReference.parse(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            ":1",
            "ubuntu:",
            "ubuntu@",
            "ubuntu:latest@",
            "ubuntu@sha256:0",
            f"ubuntu@{DIGEST}@{DIGEST}",
            "Ubuntu",
            "docker.io/Istio/base",
            "a//b",
            "/a",
            "a/",
            "ubuntu:.1",
            f"ubuntu:{'a' * 129}",
            "ubuntu: 1",
            "https://docker.io/istio/base",
            "docker.io/a b",
        ],
    )
    def test_that_is_malformed_is_refused(self, text: str) -> None:
        with pytest.raises(RequestError):
            ImageReference.parse(text)

    def test_a_digest_decides_what_is_asked_for(self) -> None:
        tagged = ImageReference.parse("ubuntu:24.04")
        assert tagged.key == "24.04"
        pinned = tagged.pinned(Digest(DIGEST))
        assert (pinned.key, pinned.tag) == (DIGEST, "24.04")

    def test_a_repository_names_its_images(self) -> None:
        repository = Repository("localhost:5000", "istio/pilot")
        assert str(repository.at("1")) == "localhost:5000/istio/pilot:1"
        assert str(repository.at(make_digest("a"))) == f"localhost:5000/istio/pilot@{make_digest('a')}"


class TestTag:
    @pytest.mark.parametrize("text", ["1.29.0", "latest", "_x", "A-b.c_d", "v" * 128])
    def test_is_taken(self, text: str) -> None:
        assert parse_tag(text) == text

    @pytest.mark.parametrize("text", ["", "-1", ".1", "1/2", "a b", "1.29.0\n", "1+2", "ü", "v" * 129])
    def test_that_is_malformed_is_refused(self, text: str) -> None:
        with pytest.raises(RequestError, match="malformed") as raised:
            parse_tag(text)
        assert "128" in raised.value.hint

    def test_that_a_run_notes_itself_in_is_refused(self) -> None:
        with pytest.raises(RequestError, match="'istio-build-run' is reserved") as raised:
            parse_tag("istio-build-run")
        assert "Choose another" in raised.value.hint
        assert parse_tag("istio-build-run-1") == "istio-build-run-1"


@pytest.mark.parametrize(
    ("text", "is_host"),
    [("docker.io", True), ("localhost", True), ("a:5000", True), ("[::1]", True), ("me", False), ("a.", False), ("a:b", False)],
)
def test_a_registry_is_told_from_a_name_at_docker_hub(text: str, is_host: bool) -> None:
    assert is_registry_host(text) == is_host


class TestRedaction:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://host/path/x.tar.gz", "https://host/path/x.tar.gz"),
            ("https://user@host/x", "https://host/x"),
            ("https://user:SECRET@host:8443/x", "https://host:8443/x"),
            ("https://user:SEC@RET@host/x", "https://host/x"),
            ("https://user:SECRET@host", "https://host"),
            ("https://host/x?token=SECRET", "https://host/x"),
            ("https://host/x?a=1&token=SECRET#y", "https://host/x"),
            ("https://user:SECRET@host/x?sig=SECRET/a@b", "https://host/x"),
            ("https://host/x?next=https://user:SECRET@other/", "https://host/x"),
            ("https://host/a@b/c", "https://host/a@b/c"),
            ("https://user:SEC?RET@host/x", "https://…"),
            ("https://host?token=a@SECRET", "https://…"),
            ("https://host?token=SECRET", "https://host"),
            ("//user:SECRET@host/x", "//host/x"),
            ("linux/arm64=https://user:SECRET@host/envoy, linux/amd64=https://u:SECRET@host/e", None),
            ("/a/local/path", "/a/local/path"),
            ("", ""),
        ],
    )
    def test_user_password_and_query_are_never_shown(self, url: str, shown: str | None) -> None:
        redacted = redact_url(url)
        assert "SEC" not in redacted
        assert "RET" not in redacted
        assert shown in (None, redacted)
