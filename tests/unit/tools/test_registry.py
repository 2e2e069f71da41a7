"""The demo's registry, where it does more than the contract of `ports.Registry` asks."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tools.registry import serving

CONTENT = bytes(range(256)) * 40
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "registry") as address:
        yield address
    assert not (tmp_path / "registry").exists()


def upload(host: str, *parts: bytes) -> requests.Response:
    started = requests.post(f"http://{host}/v2/some/image/blobs/uploads/", timeout=5)
    location = started.headers["Location"]
    for part in parts:
        answer = requests.patch(f"http://{host}{location}", data=part, timeout=5)
        assert answer.status_code == 202
        location = answer.headers["Location"]
    return requests.put(f"http://{host}{location}", params={"digest": DIGEST}, timeout=5)


def test_a_blob_in_parts(host: str) -> None:
    assert upload(host, CONTENT[:1000], CONTENT[1000:]).status_code == 201
    assert requests.get(f"http://{host}/v2/some/image/blobs/{DIGEST}", timeout=5).content == CONTENT


def test_a_blob_in_parts_that_is_not_its_digest(host: str) -> None:
    answer = upload(host, CONTENT[:1000])
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert requests.head(f"http://{host}/v2/some/image/blobs/{DIGEST}", timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("wanted", "status", "content", "told"),
    [
        ("bytes=100-199", 206, CONTENT[100:200], "bytes 100-199/10240"),
        ("bytes=10000-", 206, CONTENT[10000:], "bytes 10000-10239/10240"),
        ("bytes=10240-", 416, b"", "bytes */10240"),
    ],
)
def test_a_part_of_a_blob(host: str, wanted: str, status: int, content: bytes, told: str) -> None:
    upload(host, CONTENT)
    answer = requests.get(f"http://{host}/v2/some/image/blobs/{DIGEST}", headers={"Range": wanted}, timeout=5)
    assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (status, content, told)


def test_a_blob_of_one_repository_is_not_anothers(host: str) -> None:
    upload(host, CONTENT)
    assert requests.head(f"http://{host}/v2/other/blobs/{DIGEST}", timeout=5).status_code == 404


def test_who_tries_tls_is_answered_in_plain_http(host: str) -> None:
    """Go's client knows a plain server by these first bytes, and Docker then goes on without TLS on loopback."""
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=5) as client:
        # A ClientHello without a line feed in it, for which a reader of lines would wait for ever.
        client.sendall(b"\x16\x03\x01\x02\x00" + b"\x01" * 512)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("content", [b"no json", b"[]", b'{"layers": []}', b'{"manifests": [{}]}'])
def test_a_manifest_that_is_none(host: str, content: bytes) -> None:
    answer = requests.put(f"http://{host}/v2/some/image/manifests/1.0", data=content, timeout=5)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "MANIFEST_INVALID")
    assert requests.get(f"http://{host}/v2/some/image/tags/list", timeout=5).json()["tags"] == []


def test_what_it_does_not_know(host: str) -> None:
    assert requests.get(f"http://{host}/v2/_catalog", timeout=5).status_code == 404
    assert requests.delete(f"http://{host}/v2/some/image/blobs/{DIGEST}", timeout=5).status_code == 405
