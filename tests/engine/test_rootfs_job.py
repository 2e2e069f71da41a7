"""Base images of packages for real: found by apt, built for both platforms, started, and stood on."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.program import Ended, istio_build

AMD64, ARM64 = "linux/amd64", "linux/arm64"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Any suite would do; this one is where the tests were written.
SUITE = "bookworm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """A hub with base images, and how they came there."""

    hub: str
    tag: str
    settings: tuple[str, ...]
    cache: Path
    pushed: Ended

    def push(self, *more: str, images: str = "bases", cache: Path | None = None) -> Ended:
        """Push them again."""
        env = {"ISTIO_BUILD_CACHE": str(cache or self.cache)}
        return istio_build(
            "push", *self.settings, "--image", images, "--hub", self.hub, "--output-format", "json", *more, env=env
        )


def archive_settings() -> list[str]:
    """Where this machine itself gets packages from: near, and reachable for sure."""
    listed = ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Created-By: Packages"]
    lines = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    sites = {codename: site for codename, _, site in (line.partition(" ") for line in reversed(lines))}
    mirrors = {"debian": sites.get(SUITE), "debian-security": sites.get(f"{SUITE}-security")}
    return [word for name, site in mirrors.items() if site for word in ("--apt-mirror", f"{name}={site}")]


@pytest.fixture(scope="module")
def built_bases(registry: str, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    if not (shutil.which("apt-get") and KEYRING.exists()):
        pytest.skip("NO DEBIAN ARCHIVE: base images are built from packages with apt-get and debian-archive-keyring")
    hub, cache = f"{registry}/bases-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("cache")
    distribution = ("--bases", "build", "--base-distribution", f"debian:{SUITE}")
    settings = ("--source", str(source), *distribution, *archive_settings())
    bases = Bases(hub=hub, tag="", settings=settings, cache=cache, pushed=Ended(code=0, stdout="", stderr=""))
    pushed = bases.push()
    assert pushed.code == 0, pushed.stderr
    tag = pushed.report()["images"][0]["references"][0].rpartition(":")[2]
    return Bases(hub=hub, tag=tag, settings=settings, cache=cache, pushed=pushed)


@pytest.fixture(scope="module")
def run_in(built_bases: Bases, runs_arm64: bool) -> Callable[..., str]:
    """Run a shell script in `base`, or another image's program; all that it prints."""

    def run(platform: str, image: str, *arguments: str) -> str:
        if platform == ARM64 and not runs_arm64:
            pytest.skip("NO EMULATION of linux/arm64 on this engine")
        *options, program = arguments[:-1], arguments[-1]
        words = ["sh", "-c", program] if image == "base" else program.split()
        flags = [flag for group in options for flag in group]
        command = ["docker", "run", "--rm", "--quiet", "--network", "none", "--platform", platform, *flags]
        reference = f"{built_bases.hub}/{image}:{built_bases.tag}"
        done = subprocess.run([*command, reference, *words], capture_output=True, text=True, timeout=120, check=False)
        return done.stdout + done.stderr

    return run


def test_all_three_are_built_for_both_platforms(built_bases: Bases) -> None:
    images = built_bases.pushed.report()["images"]
    assert [(image["image"], image["state"]) for image in images] == [
        ("base", "built"),
        ("distroless", "built"),
        ("iptables", "built"),
    ]
    assert all(set(image["platforms"]) == {AMD64, ARM64} for image in images)


def test_nothing_is_done_while_the_packages_are_the_same(built_bases: Bases) -> None:
    again = built_bases.push()
    assert {image["state"] for image in again.report()["images"]} == {"unchanged"}
    assert again.digests() == built_bases.pushed.digests()


@pytest.mark.parametrize("engine", ["buildx", "builtin"])
def test_another_machine_and_engine_give_the_same_digests(built_bases: Bases, tmp_path: Path, engine: str) -> None:
    again = built_bases.push("--rebuild", "--engine", engine, images="iptables", cache=tmp_path)
    assert {image["state"] for image in again.report()["images"]} == {"built"}
    assert again.digests().items() <= built_bases.pushed.digests().items()


@pytest.mark.parametrize("platform", [AMD64, ARM64])
def test_base_has_istios_tools_and_user(run_in: Callable[..., str], platform: str) -> None:
    commands = {
        "iptables --version": "(legacy)",
        "ip6tables-save --version": "(legacy)",
        "curl --version": "libcurl/",
        "ping -V": "ping from iputils",
        "tcpdump --version": "tcpdump version",
        "ip -V": "ip utility",
        "nc -h": "OpenBSD netcat",
        "kdig --version": "Knot DNS",
        "netstat --version": "net-tools",
        "lsof -v": "revision:",
        "hexdump -V": "util-linux",
        "sudo --version": "Sudo version",
        "id istio-proxy": "uid=1337(istio-proxy) gid=1337(istio-proxy)",
        "getent passwd istio-proxy": ":/home/istio-proxy:",
        "stat -c %a /etc/sudoers": "440",
        "dpkg --audit && apt-get check && echo consistent": "consistent",
        # Under emulation there are no netfilter sockets; it starts, and says so.
        "nft --version": "nftables v" if platform == AMD64 else "",
    }
    output = run_in(platform, "base", "; ".join(f"echo '@@{command}'; {command} 2>&1" for command in commands))
    parts = dict(part.partition("\n")[::2] for part in output.split("@@")[1:])
    assert {command: parts[command] for command, wanted in commands.items() if wanted not in parts[command]} == {}


@pytest.mark.parametrize("platform", [AMD64, ARM64])
def test_the_proxys_user_may_ping(run_in: Callable[..., str], platform: str) -> None:
    assert "1 received" in run_in(platform, "base", "--user", "1337", "--cap-add", "NET_RAW", "ping -c1 -W2 127.0.0.1")


def test_the_proxys_user_may_do_everything(run_in: Callable[..., str]) -> None:
    assert run_in(AMD64, "base", "--user", "1337", "sudo -n id -u 2>/dev/null") == "0\n"


@pytest.mark.parametrize("platform", [AMD64, ARM64])
@pytest.mark.parametrize("program", ["iptables --version", "ip6tables-restore --version"])
def test_iptables_runs_without_a_shell(run_in: Callable[..., str], platform: str, program: str) -> None:
    assert "(legacy)" in run_in(platform, "iptables", program)


def test_istios_images_stand_on_them(
    built_bases: Bases, small_envoy_url: str, source: Path, run_in: Callable[..., str], registry: str
) -> None:
    hub = f"{registry}/bases-{uuid.uuid4().hex[:8]}"
    settings = ["--source", str(source), "--hub", hub, "--base-registry", built_bases.hub, "--envoy-url", small_envoy_url]
    ended = istio_build(
        "push",
        *settings,
        "--image",
        "pilot,proxyv2",
        "--output-format",
        "json",
        env={"ISTIO_BUILD_CACHE": str(built_bases.cache)},
    )
    assert ended.code == 0, ended.stderr
    for platform in (AMD64, ARM64):
        for reference in [image["references"][-1] for image in json.loads(ended.stdout)["images"]]:
            command = ["docker", "run", "--rm", "--quiet", "--network", "none", "--platform", platform, reference, "version"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert "1.29.0" in done.stdout, done.stderr


# Every file of the accounts, and of the home, with its owner, its mode and its bytes.
SHOW_USER = """
cd / && sha256sum etc/passwd etc/group etc/gshadow etc/subuid etc/subgid && cut -d: -f1,2,4- etc/shadow
find etc/passwd etc/group etc/shadow etc/gshadow etc/subuid etc/subgid home/application -printf '%p %y %m %U:%G %l\\n' | sort
find home/application -type f | sort | xargs sha256sum
"""


@pytest.mark.parametrize("platform", [AMD64, ARM64])
def test_a_user_is_what_useradd_itself_would_have_made(
    built_bases: Bases, source: Path, run_in: Callable[..., str], registry: str, platform: str
) -> None:
    hub = f"{registry}/users-{uuid.uuid4().hex[:8]}"
    settings = ["--source", str(source), "--hub", hub, "--base-registry", built_bases.hub, "--platform", platform]
    ended = istio_build("push", *settings, "--image", "app", env={"ISTIO_BUILD_CACHE": str(built_bases.cache)})
    assert ended.code == 0, ended.stderr
    run = ["docker", "run", "--rm", "--quiet", "--network", "none", "--platform", platform, "--entrypoint", "sh"]
    image = f"{hub}/app:1.29.0"
    ours = subprocess.run([*run, "--user", "0", image, "-c", SHOW_USER], capture_output=True, text=True, timeout=120, check=False)
    theirs = run_in(platform, "base", f"useradd -m --uid 1338 application; {SHOW_USER}")
    assert "home/application d " in theirs
    assert (ours.stdout + ours.stderr).splitlines() == theirs.splitlines()
    who = subprocess.run([*run, image, "-c", "id && cd && pwd && touch mine"], capture_output=True, text=True, check=False)
    assert who.stdout == "uid=1338(application) gid=1338(application) groups=1338(application)\n/home/application\n", who.stderr
