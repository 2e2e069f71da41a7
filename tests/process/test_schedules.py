"""What `istio-build schedule` writes, read by those it is for: a shell as cron starts it, systemd, and published schemas."""

import base64
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from builder import __version__
from tests.real.program import Ended, istio_build

RELEASE = "hub: h.example/i\nistio: 1.29.0\n"
PROJECT = """\
hub: registry.corp.example/istio
istio: 1.29.0
patches: patches
recipes: mine
notify: [$SLACK_URL, "${MAIL_URL}"]
"""
VARIABLES = ("MAIL_URL", "SLACK_URL")


@dataclass
class Site:
    """A directory with a project file, and a program that notes what it was called with in place of istio-build."""

    directory: Path

    @property
    def program(self) -> Path:
        return self.directory / "a bin%" / "istio-build"

    def schedule(self, *words: str | Path) -> Ended:
        return istio_build("schedule", *words, cwd=self.directory)

    def text(self, *words: str | Path) -> str:
        ended = self.schedule(*words)
        assert ended.code == 0, ended.stderr
        return ended.stdout


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    (tmp_path / "istio-build.yaml").write_text(PROJECT)
    for name, content in {
        "patches/a.patch": "é\n".encode(),
        "patches/b.patch": b"\xff\xfe",
        "mine/x.yaml": b"image: x\n",
        "mine/dockerfiles/x.j2": b"FROM x\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    site.program.parent.mkdir()
    site.program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; echo "wrong: $CODE" >&2; exit "${CODE:-0}"\n')
    site.program.chmod(0o755)
    return site


class TestCron:
    def command(self, site: Site) -> tuple[str, str]:
        """What is before the command in its line, and the command as cron gives it to the shell."""
        text = site.text("cron", "--program", site.program, "--at", "4:05")
        [line] = [line for line in text.splitlines() if not line.startswith("#") and "=" not in line.split()[0]]
        fields = line.split(" ", 5)
        # crontab(5): an unescaped percent sign would be a line end.
        assert "%" not in fields[5].replace(r"\%", "")
        return " ".join(fields[:5]), fields[5].replace(r"\%", "%")

    def run(self, site: Site, code: int) -> subprocess.CompletedProcess[str]:
        home = site.directory / "home"
        home.mkdir(exist_ok=True)
        env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "CODE": str(code)}
        argv = ["/bin/sh", "-c", self.command(site)[1]]
        return subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, check=False)

    def test_a_night_that_goes_well_says_nothing_and_is_in_the_log(self, site: Site) -> None:
        assert self.command(site)[0] == "5 4 * * *"
        for _ in range(2):
            done = self.run(site, 0)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        log = (site.directory / "home/.local/state/istio-build/nightly.log").read_text()
        assert log == f"nightly\n--file\n{site.directory}/istio-build.yaml\nwrong: 0\n" * 2

    def test_one_that_fails_is_mailed_with_the_end_of_the_log_and_keeps_its_code(self, site: Site) -> None:
        done = self.run(site, 13)
        assert done.returncode == 13
        assert "wrong: 13" in done.stdout

    def test_its_path_has_the_program_and_git(self, site: Site) -> None:
        text = site.text("cron", "--program", site.program)
        [path] = [line.removeprefix("PATH=") for line in text.splitlines() if line.startswith("PATH=")]
        assert shutil.which("git", path=path)
        assert shutil.which("istio-build", path=path) == str(site.program)

    def test_what_no_crontab_can_hold_is_refused(self, site: Site) -> None:
        refused = site.schedule("cron", "--program", f"{site.directory}/a\nb")
        assert refused.code == 2
        assert "cannot stand in such a file" in refused.stderr


class TestSystemd:
    def units(self, site: Site, *more: str | Path) -> Path:
        into = site.directory / "units"
        printed = site.text("systemd", "--program", site.program, "--output", into, *more)
        assert printed.splitlines() == [f"{into}/istio-build-nightly.service", f"{into}/istio-build-nightly.timer"]
        return into

    @pytest.mark.parametrize("more", [(), ("--user", "root", "--credentials", "/srv/50%.json")], ids=["dynamic", "user"])
    def test_systemd_takes_the_units(self, site: Site, more: tuple[str, ...]) -> None:
        if not shutil.which("systemd-analyze"):
            pytest.skip("no systemd-analyze (Debian: apt-get install systemd)")
        into = self.units(site, *more)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *map(str, sorted(into.iterdir()))],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{into}:"},
            capture_output=True,
            text=True,
            check=False,
        )
        told = [line for line in done.stderr.splitlines() if "istio-build" in line]
        assert told == []

    def test_it_finds_what_is_wrong_with_one(self, site: Site) -> None:
        """By this the test above is known to see what it looks for."""
        if not shutil.which("systemd-analyze"):
            pytest.skip("no systemd-analyze (Debian: apt-get install systemd)")
        service = self.units(site) / "istio-build-nightly.service"
        service.write_text(service.read_text().replace("PrivateTmp=yes", "PrivateTmpp=yes"))
        argv = ["systemd-analyze", "verify", "--man=no", str(service)]
        assert "PrivateTmpp" in subprocess.run(argv, capture_output=True, text=True, check=False).stderr

    def test_the_time_is_that_asked_for_in_utc(self, site: Site) -> None:
        timer = (self.units(site, "--at", "23:59") / "istio-build-nightly.timer").read_text()
        assert "OnCalendar=*-*-* 23:59:00 UTC\n" in timer

    def test_on_stdout_both_are_told_apart(self, site: Site) -> None:
        text = site.text("systemd", "--program", site.program)
        assert text.count("# ---- istio-build-nightly.") == 2

    def test_what_of_a_home_it_needs_can_be_read(self, site: Site) -> None:
        assert "ProtectHome=yes" in site.text("systemd", "--program", "/opt/istio-build")
        assert "ProtectHome=read-only" in site.text("systemd", "--program", "/home/me/.local/bin/istio-build")


def kubernetes(site: Site, *more: str) -> dict[str, Any]:
    """The objects, by kind."""
    text = site.text("kubernetes", "--image", "registry.corp.example/istio-build:1", *more)
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


class TestKubernetes:
    @pytest.mark.parametrize("more", [(), ("--namespace", "mesh", "--credentials", "pull.secret")], ids=["default", "named"])
    # The oldest that has a time zone for a CronJob for good, and the newest that there are schemas of.
    @pytest.mark.parametrize("version", ["1.27", kubernetes_validate.latest_version()])
    def test_every_object_is_what_the_cluster_takes(self, site: Site, version: str, more: tuple[str, ...]) -> None:
        found = kubernetes(site, *more)
        assert list(found) == ["ConfigMap", "ServiceAccount", "PersistentVolumeClaim", "CronJob"]
        for document in found.values():
            kubernetes_validate.validate(document, version, strict=True)
            assert document["metadata"].get("namespace", "") == ("mesh" if more else "")

    def test_what_is_mounted_is_the_project_as_it_lies_here(self, site: Site) -> None:
        found = kubernetes(site)
        volumes = {volume["name"]: volume for volume in pod(found)["volumes"]}
        config_map = found["ConfigMap"]
        written = {}
        for item in volumes["project"]["configMap"]["items"]:
            text = config_map["data"].get(item["key"])
            written[item["path"]] = text.encode() if text else base64.b64decode(config_map["binaryData"][item["key"]])
        names = ("istio-build.yaml", "patches/a.patch", "patches/b.patch", "mine/x.yaml", "mine/dockerfiles/x.j2")
        assert written == {name: (site.directory / name).read_bytes() for name in names}
        mounts = {mount["name"]: mount["mountPath"] for mount in pod(found)["containers"][0]["volumeMounts"]}
        assert pod(found)["containers"][0]["args"] == ["nightly", "--file", f"{mounts['project']}/istio-build.yaml"]
        assert set(mounts) == set(volumes)

    def test_it_has_no_rights_that_it_does_not_need(self, site: Site) -> None:
        found = kubernetes(site)
        spec = pod(found)
        assert found["CronJob"]["spec"]["concurrencyPolicy"] == "Forbid"
        assert (spec["automountServiceAccountToken"], found["ServiceAccount"]["automountServiceAccountToken"]) == (False, False)
        assert spec["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
        assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["seccompProfile"]) == (
            True,
            {"type": "RuntimeDefault"},
        )
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        claim = next(volume["persistentVolumeClaim"] for volume in spec["volumes"] if volume["name"] == "cache")
        assert claim["claimName"] == found["PersistentVolumeClaim"]["metadata"]["name"]

    @pytest.mark.parametrize(
        ("project", "told"),
        [
            ("hub: h.example/i\nsource: .\n", "names a checkout, and a CronJob has none"),
            (f"{RELEASE}git_url: ../istio\n", "`git_url` is a directory of this machine"),
            (f"{RELEASE}report: pages\n", "`report` goes to pages, where a CronJob cannot write"),
            (f"{RELEASE}metrics: /var/lib/node_exporter/istio-build.prom\n", "`metrics` goes to /var/lib/node_exporter"),
            (RELEASE + "envoy: { linux/amd64: /opt/envoy }\n", "is a file of this machine"),
            (f"{RELEASE}patches: ../outside.patch\n", "does not lie beside the project file"),
            (f"{RELEASE}patches: none.patch\n", "cannot read"),
            (f"{RELEASE}locked: true\n", "istio-build.lock: No such file"),
            (f"{RELEASE}git_url: https://me:secret@git.example/istio\n", "holds a URL with credentials"),
            (f"{RELEASE}git_url: https://token@git.example/istio\n", "holds a URL with credentials"),
            (
                "hub: h.example/i\nistio: 1.29.0\nenvoy_url: https://s3.example/?X-Amz-Signature=1\n",
                "holds a URL with credentials",
            ),
            ("istio: 1.29.0\n", "no hub"),
        ],
    )
    def test_what_cannot_go_along(self, site: Site, project: str, told: str) -> None:
        (site.directory / "istio-build.yaml").write_text(project)
        (site.directory.parent / "outside.patch").write_text("x")
        refused = site.schedule("kubernetes", "--image", "r.example/x:1")
        assert (refused.code, refused.stdout) == (2, "")
        assert told in refused.stderr
        assert "secret@" not in refused.stderr

    def test_it_needs_an_image_and_names(self, site: Site) -> None:
        assert "a CronJob needs an image" in site.schedule("kubernetes").stderr
        assert "is no name in Kubernetes" in site.schedule("kubernetes", "--image", "r.example/x:1", "--namespace", "A b").stderr

    def test_what_is_too_large_is_told(self, site: Site) -> None:
        (site.directory / "patches" / "c.patch").write_text("x" * 960 * 1024)
        assert "a ConfigMap holds no more" in site.schedule("kubernetes", "--image", "r.example/x:1").stderr


def pod(found: dict[str, Any]) -> dict[str, Any]:
    """The pod that the CronJob starts."""
    spec: dict[str, Any] = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("more", [(), ("--image", "registry.corp.example/istio-build:1")], ids=["pip", "image"])
@pytest.mark.parametrize(("kind", "schema"), [("github", "vendor.github-workflows"), ("gitlab", "vendor.gitlab-ci")])
class TestPipelines:
    def test_it_is_what_the_published_schema_says(self, site: Site, kind: str, schema: str, more: tuple[str, ...]) -> None:
        path = site.directory / f"{kind}.yaml"
        site.text(kind, "--output", path, *more)
        words = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", schema]
        words += ["--data-transform", "gitlab-ci"] if kind == "gitlab" else []
        done = subprocess.run([*words, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def test_it_runs_the_command_and_passes_the_secret_as_a_variable(
        self, site: Site, kind: str, schema: str, more: tuple[str, ...]
    ) -> None:
        document = yaml.safe_load(site.text(kind, "--install", "./x y.whl[go]", *more))
        if kind == "github":
            steps = document["jobs"]["nightly"]["steps"]
            commands = [step["run"] for step in steps if "run" in step]
            assert [step.get("env") for step in steps if step.get("run") == commands[-1]] == [
                {name: f"${{{{ secrets.{name} }}}}" for name in ("DOCKER_AUTH_CONFIG", *VARIABLES)}
            ]
            assert document["permissions"] == {"contents": "read"}
        else:
            commands = document["istio-build-nightly"]["script"]
        assert commands[-1] == "istio-build nightly --file istio-build.yaml"
        assert commands[:-1] == ([] if more else ["python -m pip install './x y.whl[go]'"])


class TestWhatTheProjectFileWantsFromOutside:
    def test_a_pod_has_it_from_a_secret_that_is_made_as_it_says(self, site: Site) -> None:
        [container] = pod(kubernetes(site, "--namespace", "mesh"))["containers"]
        secrets = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
        assert secrets == {name: {"name": "istio-build-environment", "key": name} for name in VARIABLES}
        text = site.text("kubernetes", "--image", "r.example/x:1", "--namespace", "mesh")
        literals = " ".join(f'--from-literal={name}="${name}"' for name in VARIABLES)
        assert f"#   kubectl create secret generic istio-build-environment --namespace=mesh {literals}\n" in text

    def test_a_service_reads_it_from_a_file(self, site: Site) -> None:
        assert "\nEnvironmentFile=/etc/istio-build/environment\n" in site.text("systemd", "--program", site.program)

    def test_a_crontab_has_lines_to_fill_in(self, site: Site) -> None:
        text = site.text("cron", "--program", site.program)
        assert "\n#MAIL_URL=\n#SLACK_URL=\n" in text

    def test_gitlab_passes_its_variables_anyhow(self, site: Site) -> None:
        assert "project file names: MAIL_URL, SLACK_URL.\n" in site.text("gitlab")

    @pytest.mark.parametrize("kind", ["github", "gitlab"])
    def test_what_notifies_is_installed(self, site: Site, kind: str) -> None:
        assert f"pip install 'istio-build[go,notify]=={__version__}'" in site.text(kind)

    @pytest.mark.parametrize("kind", ["cron", "systemd", "kubernetes", "github", "gitlab"])
    def test_where_it_wants_nothing_nothing_is_said(self, site: Site, kind: str) -> None:
        (site.directory / "istio-build.yaml").write_text(RELEASE)
        text = site.text(kind, "--program", site.program, "--image", "r.example/x:1")
        for word in ("project file wants", "project file names", "istio-build-environment", "EnvironmentFile", "secretKeyRef"):
            assert word not in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("cron", "--program", "/x", "--at", "24:00"), "no time of day"),
        (("github", "--install", "git+https://token@git.example/x"), "--install holds a URL with credentials"),
        (("gitlab", "--file", "/etc/x.yaml"), "no project file /etc/x.yaml"),
        (("systemd", "--program", "/x", "--user", "a\nb"), "cannot stand in such a file"),
    ],
)
def test_what_is_refused(site: Site, words: tuple[str, ...], told: str) -> None:
    refused = site.schedule(*words)
    assert (refused.code, refused.stdout) == (2, "")
    assert told in refused.stderr


def test_a_project_file_elsewhere(site: Site) -> None:
    whole = site.directory / "istio-build.yaml"
    assert "is not below the working directory" in site.schedule("gitlab", "--file", whole).stderr
    elsewhere = site.directory / "elsewhere"
    elsewhere.mkdir()
    refused = istio_build("schedule", "cron", cwd=elsewhere)
    assert refused.code == 2
    assert "there is no istio-build.yaml here" in refused.stderr


def test_a_file_that_is_written_is_whole_and_for_everybody_to_read(site: Site) -> None:
    path = site.directory / "below" / "cron"
    assert site.text("cron", "--program", "/x/istio-build", "--output", path) == f"{path}\n"
    assert path.read_text() == site.text("cron", "--program", "/x/istio-build")
    assert stat.S_IMODE(path.stat().st_mode) & 0o111 == 0
