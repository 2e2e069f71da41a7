"""A template that says more than its recipe, for real: whatever it adds is found before anything leaves the machine."""

from pathlib import Path

from tests.real.program import istio_build

RECIPE = """\
image: note
template: note.Dockerfile.j2
files: [{source: VERSION, path: /etc/note/version}]
istio: 1.12+
variants: {debug: {base: base}}
user: "65532"
entrypoint: [/bin/note]
"""
TEMPLATE = """\
{% import "_parts.j2" as parts %}
FROM {{ image.base }}
{{ parts.layers(image) -}}
USER {{ image.user }}
ENTRYPOINT {{ image.entrypoint | exec_form }}
"""
# Each instruction that changes how an image is run and that no recipe can say, and what is then found.
FINDINGS = {
    "EXPOSE 8080": 'ExposedPorts is {"8080/tcp":{}}, not unset: remove EXPOSE from',
    "HEALTHCHECK CMD true": 'Healthcheck is {"Test":["CMD-SHELL","true"]}, not unset: remove HEALTHCHECK from',
    "ONBUILD RUN true": 'OnBuild is ["RUN true"], not unset: remove ONBUILD from',
    'SHELL ["/bin/note", "-c"]': 'Shell is ["/bin/note","-c"], not unset: remove SHELL from',
    "STOPSIGNAL SIGQUIT": 'StopSignal is "SIGQUIT", not unset: remove STOPSIGNAL from',
    "VOLUME /data": 'Volumes is {"/data":{}}, not unset: remove VOLUME from',
    "MAINTAINER me": 'author is "me", not unset: remove MAINTAINER from',
    "ENV MORE=1": "env is {",
    "LABEL more=1": "labels is {",
    "WORKDIR /more": "working directory is '/more', not '/'",
    "USER 0": "user is '0', not '65532'",
    'CMD ["more"]': "command is ('more',), not ()",
}


def test_whatever_a_template_adds_is_found(bases: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "note.yaml").write_text(RECIPE)
    template = tmp_path / "note.Dockerfile.j2"
    job = [
        *("build", "--source", str(source), "--hub", "hub.test/x", "--base-registry", bases, "--platform", "linux/amd64"),
        *("--recipes", str(tmp_path), "--image", "note", "--output", str(tmp_path / "out")),
    ]
    env = {"ISTIO_BUILD_CACHE": str(tmp_path / "cache")}

    template.write_text(TEMPLATE)
    assert istio_build(*job, env=env).code == 0

    template.write_text(TEMPLATE + "".join(f"{instruction}\n" for instruction in FINDINGS))
    refused = istio_build(*job, env=env)
    assert refused.code == 12, refused.stderr
    found = [line.strip() for line in refused.stderr.splitlines()]
    missed = [finding for finding in FINDINGS.values() if not any(line.startswith(finding) for line in found)]
    assert missed == [], refused.stderr
