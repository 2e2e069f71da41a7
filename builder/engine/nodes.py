"""The nodes of a buildx builder: read from what `docker buildx inspect` prints, and what is wrong with them. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from builder.errors import EngineError
from builder.oci.reference import redact_url

# Of buildx's own: the Docker engine itself is the builder. Where the engine does not answer, not even that is known.
_DOCKER_DRIVERS = ("", "docker")
_FIELD = re.compile(r"([A-Za-z][A-Za-z ]*):[ \t]*(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. `declared` are the platforms that whoever made the builder gave it, `found` those it tells by itself, its
    native one first: with emulation there are more."""

    name: str
    endpoint: str = ""
    status: str = ""
    error: str = ""
    declared: tuple[str, ...] = ()
    found: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({redact_url(self.endpoint)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderNodes:
    """A builder as it is now."""

    name: str
    driver: str
    error: str = ""
    nodes: tuple[Node, ...] = ()

    @property
    def is_docker(self) -> bool:
        """Whether it is the Docker engine itself."""
        return self.driver in _DOCKER_DRIVERS

    @property
    def not_running(self) -> tuple[Node, ...]:
        """Those that cannot build now. One of the drivers docker-container and kubernetes may only have to be started."""
        return tuple(node for node in self.nodes if node.error or node.status != "running")


def read_builder(text: str) -> BuilderNodes:
    """Read what `docker buildx inspect` prints; what is indented belongs to a field that does not matter here."""
    records: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        match = _FIELD.match(line)
        if match and match[1] == "Nodes":
            records.append({})
        elif match:
            if match[1] == "Name" and len(records) > 1 and records[-1]:
                records.append({})
            records[-1].setdefault(match[1], match[2].strip())
    builder, *nodes = records
    return BuilderNodes(
        name=builder.get("Name", ""),
        driver=builder.get("Driver", ""),
        error=builder.get("Error", ""),
        nodes=tuple(_node(record) for record in nodes if record),
    )


def _node(record: dict[str, str]) -> Node:
    platforms = [name for name in record.get("Platforms", "").split(", ") if name]
    return Node(
        name=record.get("Name", ""),
        endpoint=record.get("Endpoint", ""),
        status=record.get("Status", ""),
        error=record.get("Error", ""),
        declared=tuple(name.removesuffix("*") for name in platforms if name.endswith("*")),
        found=tuple(name for name in platforms if not name.endswith("*")),
    )


def explain_nodes(builder: str, nodes: Sequence[Node], reason: str = "") -> EngineError:
    """The error that nodes which do not answer mean to a user; `reason` is what buildx said."""
    which = "; ".join(f"{node}: {redact_url(node.error) or node.status or 'unknown'}" for node in nodes)
    told = f": {redact_url(reason)}" if reason else ""
    return EngineError(
        f"builder {builder}: {'a node does' if len(nodes) == 1 else 'nodes do'} not answer{told} [{which}]",
        hint=f"Start BuildKit there, and see `docker buildx inspect --bootstrap {builder}`; or take the node out: "
        f"docker buildx create --name {builder} --node {nodes[0].name} --leave",
    )


def misled_platforms(nodes: Sequence[Node]) -> tuple[tuple[str, Node, Node], ...]:
    """Platforms that buildx gives to a node that is not native for them, although another one is: each with both nodes.

    Buildx takes the first node that was given the platform with `--platform`, else the first one that says it can,
    emulated or not (docker/buildx, build/driver.go).
    """
    declared = {platform for node in nodes for platform in node.declared}
    misled = []
    for native in nodes:
        platform = native.found[0] if native.found and not native.declared else ""
        chosen = next((node for node in nodes if platform in node.found), native)
        if platform and platform not in declared and chosen.found[0] != platform:
            misled.append((platform, chosen, native))
    return tuple(misled)
