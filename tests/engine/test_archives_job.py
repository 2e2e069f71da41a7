"""Archives of istioctl for real: built for three systems, summed, unpacked and run."""

import json
import shutil
import subprocess
from pathlib import Path

from tests.real.program import istio_build


def test_real_ones_are_for_the_systems_that_they_name_and_say_the_hub(source: Path, tmp_path: Path) -> None:
    targets = [word for target in ("linux-amd64", "osx-arm64", "win-amd64") for word in ("--target", target)]
    done = istio_build(
        "archives", "--source", source, "--hub", "docker.io/me", "--output", tmp_path, "--output-format", "json", *targets
    )
    assert done.code == 0, done.stderr
    found = {Path(entry["path"]).name: entry for entry in json.loads(done.stdout)["archives"]}
    assert sorted(found) == [
        "istioctl-1.29.0-linux-amd64.tar.gz",
        "istioctl-1.29.0-osx-arm64.tar.gz",
        "istioctl-1.29.0-win-amd64.zip",
        "istioctl-1.29.0-win.zip",
    ]
    for name in found:
        subprocess.run(["sha256sum", "--check", "--quiet", f"{name}.sha256"], cwd=tmp_path, check=True)
    shutil.unpack_archive(tmp_path / "istioctl-1.29.0-linux-amd64.tar.gz", tmp_path)
    assert subprocess.check_output([tmp_path / "istioctl", "version", "--remote=false"], text=True) == "client version: 1.29.0\n"
    manifest = subprocess.check_output([tmp_path / "istioctl", "manifest", "generate"], text=True)
    assert "docker.io/me/pilot:1.29.0" in manifest
