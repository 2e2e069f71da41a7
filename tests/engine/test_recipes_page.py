"""What docs/recipes.md says to type, typed."""

import os
import shlex
import subprocess
from pathlib import Path

from tests import ROOT
from tests.real.program import command, environment


def test_the_commands_of_the_fourth_image_show_its_dockerfiles(bases: str, tmp_path: Path) -> None:
    section = (ROOT / "docs" / "recipes.md").read_text().partition("\n## A fourth image\n")[2].partition("\n## ")[0]
    make, plan = section.partition("```sh\n")[2].partition("```")[0].replace("/tmp/", f"{tmp_path}/").splitlines()
    subprocess.run([ROOT / shlex.split(make)[0], *shlex.split(make)[1:]], cwd=ROOT, check=True)
    program, *arguments = shlex.split(plan)
    assert program == "istio-build"
    # Only where the base images are is not said there.
    env = environment({"ISTIO_BUILD_BASE_REGISTRY": bases, "ISTIO_BUILD_CACHE": os.fspath(tmp_path / "cache")})
    shown = subprocess.run(command(*arguments), cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("USER 65532:65532\n") == 2
    assert 'ENV ECHO_HUB="registry.example.com/istio"\n' in shown.stdout
