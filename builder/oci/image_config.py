"""Writes image configurations (image-spec v1.1, config.md): the same values give the same bytes, whoever assembled the image. Pure."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from builder.oci.manifest import ImageConfig


def write_config(config: ImageConfig, created: int, steps: Sequence[str]) -> bytes:
    """The configuration blob that says this.

    `created` is in seconds since 1970. `steps` say for people how each layer came about that is not the base's; the base's
    history, which `config` has, stands before them. Where it does not fit the base's layers there is no history at all, as
    tools count the two against each other.
    """
    time = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    history = [*map(json.loads, config.history), *({"created": time, "created_by": step} for step in steps)]
    layers = sum(1 for entry in history if not entry.get("empty_layer"))
    others = {name: json.loads(value) for name, value in config.others}
    author = others.pop("author", None)
    document: dict[str, Any] = {
        **({"author": author} if author else {}),
        "created": time,
        "architecture": config.platform.architecture,
        "os": config.platform.os,
        "config": _run_config(config, others),
        "rootfs": {"type": "layers", "diff_ids": list(config.diff_ids)},
        **({"history": history} if layers == len(config.diff_ids) else {}),
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _run_config(config: ImageConfig, others: dict[str, Any]) -> dict[str, Any]:
    """How the image is run. What is empty is left out, as Docker and containerd read it alike."""
    found = {
        **others,
        "User": config.user,
        "Env": [f"{name}={value}" for name, value in config.env],
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "WorkingDir": config.working_dir,
        "Labels": dict(config.labels),
    }
    return {name: value for name, value in found.items() if value}
