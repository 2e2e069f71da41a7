"""Image configurations (image-spec v1.1, config.md): the same values give the same bytes, whoever built the image. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from builder.oci.manifest import Descriptor, ImageConfig
from builder.oci.reference import ImageReference

# What of a configuration no recipe can say and a base hands on. What else there may be is of a container that the base was
# made of, such as Hostname; builders leave it out.
HANDED_ON = ("ExposedPorts", "Healthcheck", "Shell", "StopSignal", "Volumes", "author")


# What BuildKit gives an image whose base and Dockerfile say nothing of it, and a container runtime one that says nothing at
# all (moby/buildkit, util/system/path.go: DefaultPathEnvUnix). In the image it is the same under every runtime.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedConfig:
    """How an image is run: "" and () leave what its base image says; `env` and `labels` add to the base's."""

    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A base image on one platform, bound to digests: its configuration, and the blobs of its layers, lowest first.

    `reference` is bound to its index, or to its manifest where it has no index.
    """

    reference: ImageReference
    config: ImageConfig
    layers: tuple[Descriptor, ...]


def add_config(base: ImageConfig, added: AddedConfig) -> ImageConfig:
    """A base's configuration with this added, as Dockerfile instructions would
    (https://docs.docker.com/reference/dockerfile/): an ENTRYPOINT makes the base's CMD void, and what the base wants done in
    builds on top of it is done with this one. An image has a PATH, whether its base has one or not."""
    return replace(
        base,
        user=added.user or base.user,
        entrypoint=added.entrypoint or base.entrypoint,
        command=added.command or (() if added.entrypoint else base.command),
        working_dir=added.working_dir or base.working_dir,
        env=add_env(base.env, added.env),
        labels=tuple(sorted({**dict(base.labels), **dict(added.labels)}.items())),
        others=tuple((name, value) for name, value in base.others if name in HANDED_ON),
    )


def add_env(base: tuple[tuple[str, str], ...], added: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """A base's variables with these added, and a PATH where there is none."""
    variables = {**dict(base), **dict(added)}
    return tuple({"PATH": DEFAULT_PATH, **variables}.items() if "PATH" not in variables else variables.items())


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
