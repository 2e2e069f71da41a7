"""The doctor with everything real: Docker, a registry, Go, bases, a place with Envoy, git."""

import json
import os
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

import jsonschema_rs
import pytest
import requests

from tests import ROOT
from tests.real.program import command, environment, istio_build


@pytest.fixture
def words(registry: str, bases: str, envoy_url: str, source: Path) -> list[str]:
    hub = f"{registry}/doctor-{uuid.uuid4().hex[:8]}"
    return ["--source", str(source), "--hub", hub, "--base-registry", bases, "--envoy-url", envoy_url]


def states(stdout: str) -> dict[str, str]:
    document = json.loads(stdout)
    jsonschema_rs.validate(json.loads((ROOT / "docs" / "schemas" / "doctor.json").read_text()), document)
    return {f"{check['name']} {check['subject']}".strip(): check["state"] for check in document["checks"]}


def test_where_all_is_there_nothing_fails_and_nothing_is_changed(words: list[str], registry: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ended = istio_build("doctor", *words, "--run", "--output-format", "json", env={"ISTIO_BUILD_CACHE": str(cache)}, cwd=tmp_path)
    assert ended.code == 0, ended.stdout + ended.stderr
    found = states(ended.stdout)
    hub = words[3]
    assert {found[name] for name in ("git", "go", "engine", f"push {hub}", f"lease {hub}", "base-image base")} == {"ok"}
    assert {found[f"artifact envoy linux/{name}"] for name in ("amd64", "arm64")} == {"ok"}
    assert found[f"clock {registry}"] == "ok"
    assert list(tmp_path.iterdir()) == [], "neither a cache nor a directory for layouts"
    for image in ("pilot", "proxyv2", "istioctl"):
        answer = requests.get(f"http://{registry}/v2/{hub.partition('/')[2]}/{image}/tags/list", timeout=30)
        assert not answer.ok or not answer.json().get("tags")


def test_a_push_that_would_fail_is_told_with_its_own_code(words: list[str], tmp_path: Path) -> None:
    words[3] = "127.0.0.1:9/istio"
    words[5] = f"{words[5]}/gone"
    ended = istio_build("doctor", *words, env={"ISTIO_BUILD_CACHE": str(tmp_path)}, timeout=60)
    assert ended.code == 30, ended.stdout + ended.stderr
    assert "a run would fail: base-image base" in ended.stderr
    assert "push 127.0.0.1:9/istio" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_host_that_hangs_costs_the_limit_and_ctrl_c_ends_it(words: list[str], tmp_path: Path) -> None:
    env = {"ISTIO_BUILD_CACHE": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        words[3] = f"127.0.0.1:{silent.getsockname()[1]}/istio"
        began = time.monotonic()
        ended = istio_build("doctor", *words, "--limit", "4", "--output-format", "json", env=env, timeout=60)
        took = time.monotonic() - began
        assert (ended.code, states(ended.stdout)[f"push {words[3]}"]) == (30, "failed")
        assert took < 10
        argv = command("doctor", *words, "--limit", "60")
        with subprocess.Popen(argv, env=environment(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(3)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
    assert (process.returncode, time.monotonic() - sent < 4) == (130, True), told


def test_no_credential_is_shown(words: list[str], tmp_path: Path) -> None:
    secret = "s3cr3t-of-the-doctor"
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {words[3].partition("/")[0]: {"username": "me", "password": secret}}})
    )
    env = {
        "ISTIO_BUILD_CACHE": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path),
        "HTTPS_PROXY": f"http://me:{secret}@127.0.0.1:9",
        "GOPROXY": f"http://me:{secret}@127.0.0.1:9",
        "DOCKER_HOST": os.environ.get("DOCKER_HOST", ""),
    }
    more = ("--git-url", f"https://me:{secret}@127.0.0.1:9/istio", "--ztunnel-url", f"https://me:{secret}@z.invalid/x")
    for how in ("table", "json"):
        ended = istio_build("doctor", *words, *more, "--image", "core,mesh", "--output-format", how, env=env, timeout=90)
        assert ended.code == 30
        assert secret not in ended.stdout + ended.stderr
