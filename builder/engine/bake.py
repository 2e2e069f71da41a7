"""The definition that `docker buildx bake` is fed. Pure: https://docs.docker.com/build/bake/reference/."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.ports import AssemblyTarget, GoBuild


def bake_definition(targets: Sequence[AssemblyTarget]) -> dict[str, Any]:
    """The bake file for these targets, as JSON values.

    One target per platform: the context of a multi-platform target is sent anew for each platform at every run, as the
    two share one snapshot in BuildKit; and a platform need not wait for the other one's compiler.
    """
    return {
        "group": {"default": {"targets": [target.name for target in targets]}},
        "target": {target.name: _target(target) for target in targets},
    }


def compile_definition(build: GoBuild, dockerfile: Path, secrets: Sequence[str], proxies: Mapping[str, str]) -> dict[str, Any]:
    """The bake file of a `go build` in an image, as JSON values: what comes out is files, and no image."""
    name = f"compile-{build.platform.slug}"
    target = {
        "context": _escape(str(build.tree)),
        "dockerfile": _escape(str(dockerfile)),
        "platforms": [str(build.platform)],
        # These of BuildKit's own arguments are neither part of a cache's key nor kept in a history.
        "args": {name: _escape(value) for name, value in proxies.items()},
        "secret": [_escape(secret) for secret in secrets],
        "attest": ["type=provenance,disabled=true"],
        "output": [_comma_separated("type=local", f"dest={_escape(str(build.into))}")],
    }
    return {"group": {"default": {"targets": [name]}}, "target": {name: target}}


def _target(target: AssemblyTarget) -> dict[str, Any]:
    return {
        "context": _escape(str(target.context)),
        "dockerfile-inline": _escape(target.dockerfile),
        "platforms": [str(target.platform)],
        "args": {"SOURCE_DATE_EPOCH": str(target.source_date_epoch)},
        # Provenance names the build and its time, so it would change the digest of every run.
        "attest": ["type=provenance,disabled=true"],
        "output": [
            # oci-mediatypes: without provenance BuildKit falls back to Docker's media types. How layers are compressed in
            # the end is ours to say (builder.images.final_layers): this is what crosses from the engine soonest, as it is
            # done faster than three times the bytes are sent. force-compression is left out on purpose: it would convert
            # the base's layers too, and they could not be mounted from the base.
            _comma_separated(
                "type=oci",
                "tar=false",
                "oci-mediatypes=true",
                "compression=zstd",
                "compression-level=1",
                f"dest={_escape(str(target.destination))}",
            )
        ],
    }


def _escape(text: str) -> str:
    """Strings of a bake file are HCL templates, in which `${` and `%{` have to be doubled."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _comma_separated(*fields: str) -> str:
    """One line of CSV, as buildx reads outputs: a path with a comma stands in quotes."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
