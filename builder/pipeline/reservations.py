"""Leases at the hubs, begun while the last images are still being made: the time for which they have to stand costs none then."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from builder.oci.reference import Hub
from builder.pipeline.hubs import HubGroups
from builder.pipeline.look import Look
from builder.pipeline.release_at_hub import shared_journal
from builder.plan.model import ImagePlan

if TYPE_CHECKING:
    # All of building comes with it.
    from builder.build.assemble import AssembledPlatform


class Reservations:
    """The journals of a push, by hub, and when they reserve their leases: when one task of the build is left.

    Sooner would keep others from their tags for nothing, and be begun anew; and a hub that has all that is built keeps its tags.
    What is reserved and not taken up is given back at the end of the block. `images` are those that are built.
    """

    def __init__(self, look: Look, images: Sequence[ImagePlan], hubs: HubGroups) -> None:
        references = [reference for image in look.plan.everything for reference in image.references]
        self.journals = {
            hub: shared_journal(hubs.context(hub), [ref for ref in references if ref.repository.hub == hub]) for hub in hubs.left
        }
        self._hubs = hubs
        self._lacking = [hub for hub in hubs.left if any(image.key not in look.found[hub] for image in images)]
        self._left = sum(len(image.platforms) for image in images)
        names = [image.image for image in images]
        # A task makes all variants of an image on one platform.
        self._last = max(map(names.count, names), default=0)
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._reserve: dict[Hub, Callable[[], None]] = {}

    def __enter__(self) -> Self:
        self._reserve = {hub: self._stack.enter_context(self.journals[hub].reserving()) for hub in self._lacking}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def on_assembled(self, part: "AssembledPlatform") -> None:
        """To be told of each image that is ready on a platform, from whatever thread."""
        with self._lock:
            self._left -= 1
            due = self._left <= self._last and self._reserve
            reserve, self._reserve = (self._reserve, {}) if due else ({}, self._reserve)
        for hub in self._hubs.left:
            if hub in reserve:
                reserve[hub]()
