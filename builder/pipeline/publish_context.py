"""What publishing needs of the world, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from builder.errors import BuilderError
from builder.oci.reference import Hub
from builder.pipeline.preflight import TagGuard
from builder.ports import Registry, TagStore
from builder.publish.guards import CAREFUL, Permissions
from builder.publish.history import Happening
from builder.publish.lease_times import LeaseTimes
from builder.runtime.cancellation import TaskGroup
from builder.runtime.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishContext:
    """What publishing needs of the world; `rollback_tags` go on working after an interruption.

    `cancellation` is of the tasks that the registry is for. `permissions` is what may be done to tags that are there; `cache`
    has downloads by their sha256. `happening` is what the hubs' histories tell of the run, None where they are not to.
    With `fail_fast` the first hub that fails ends the others, which else get their release. `place` is what progress says
    behind what it counts, where there are several hubs. `lost` are hubs that have failed already, and with what.
    """

    registry: Registry
    rollback_tags: TagStore
    journals: Path
    progress: Progress
    cancellation: TaskGroup
    permissions: Permissions = CAREFUL
    cache: Path = Path()
    lease_times: LeaseTimes = field(default_factory=LeaseTimes)
    happening: Happening | None = None
    fail_fast: bool = False
    place: str = ""
    lost: Mapping[Hub, BuilderError] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def guard(self) -> TagGuard:
        """What looks at tags before work begins."""
        return TagGuard(registry=self.registry, permissions=self.permissions, cache=self.cache)
