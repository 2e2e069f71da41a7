"""Certificates of an authority of the tests' own, made with openssl."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """An authority's certificate, and a server's for 127.0.0.1 that it has signed, with the key of that."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> "Certificates":
        """New ones, valid for two days. Skips the test where there is no openssl."""
        authority = _make(directory, "ca", "-addext", "basicConstraints=critical,CA:TRUE")
        signed = ("-CA", str(authority), "-CAkey", str(directory / "ca.key"), "-addext", "basicConstraints=critical,CA:FALSE")
        certificate = _make(directory, "server", *signed, "-addext", "subjectAltName=IP:127.0.0.1")
        return cls(authority=authority, certificate=certificate, key=directory / "server.key")


def openssl(*words: str, content: bytes = b"") -> bytes:
    """What it prints."""
    program = shutil.which("openssl")
    if not program:
        pytest.skip("no openssl on PATH")
    return subprocess.run([program, *words], input=content, check=True, capture_output=True).stdout


def _make(directory: Path, name: str, *more: str) -> Path:
    made = ("-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.crt"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl("req", "-x509", *curve, "-subj", f"/CN=istio-build tests {name}", *made, *more)
    return directory / f"{name}.crt"
