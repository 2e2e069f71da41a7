"""What to say of a run in which hubs failed: one error that tells of each hub, and what became of each image there. Pure."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from builder.errors import BuilderError, Interrupted, NotReadBack, Outcome, PublishError, VerifyError
from builder.oci.reference import Hub
from builder.publish.publication import Publication

_AGAIN = "The same again does what is missing; where the release is, it writes nothing."
# Their messages say themselves where the tags are.
_TELL_OF_TAGS = (PublishError, VerifyError, NotReadBack, Interrupted)


def join_failures(
    hubs: Sequence[Hub],
    failures: Mapping[Hub, BuilderError],
    released: Mapping[Hub, str] = MappingProxyType({}),
    *,
    first: Hub | None = None,
) -> BuilderError:
    """One error for what failed at hubs, each named with what holds there: of the kind of the first, or of that at `first`.

    `released` says of hubs what they have; at those that are in neither, no tag has moved.
    """
    # What was ended because another one failed comes last.
    order = sorted((hub for hub in hubs if hub in failures), key=lambda hub: isinstance(failures[hub], Interrupted))
    leading = failures[first or order[0]]
    told = {hub: _tell(failures[hub]) if hub in failures else released.get(hub, "no tag has moved") for hub in hubs}
    error = copy.copy(leading)
    lines = [f"  {hub}: {text}".replace("\n", "\n    ") for hub, text in told.items()]
    error.message = "\n".join([f"{len(hubs) - len(released)} of {len(hubs)} hubs do not have this release:", *lines])
    error.hint = " ".join(filter(None, (leading.hint, _AGAIN if released else "")))
    return error


def end_interrupted(
    hubs: Sequence[Hub], failures: Mapping[Hub, BuilderError], released: Mapping[Hub, str], *, moved: bool
) -> BuilderError:
    """The same of a run that was interrupted while it moved tags; `moved`: at one hub all of them are where it put them.

    Only where no tag is, it is an Interrupted.
    """
    unsure = next((hub for hub in hubs if isinstance(failures.get(hub), PublishError)), None)
    if unsure:
        return join_failures(hubs, failures, released, first=unsure)
    joined = join_failures(hubs, failures, released)
    kind = NotReadBack if moved else Interrupted
    return kind(f"interrupted; {joined.message}", hint=_AGAIN if released else "")


def outcomes_at(hub: Hub, publications: Iterable[Publication], state: str, error: str = "") -> tuple[Outcome, ...]:
    """What became of these images at a hub, on each of their platforms."""
    return tuple(
        Outcome(image=entry.key, platform=str(platform), state=state, error=error, hub=str(hub))
        for entry in publications
        for platform in entry.index.platforms()
    )


def sort_ledger(entries: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """By image, platform and hub."""
    return tuple(sorted(entries, key=lambda entry: (entry.image, entry.platform, entry.hub)))


def _tell(error: BuilderError) -> str:
    told = error.message.removeprefix("interrupted; ")
    if isinstance(error, _TELL_OF_TAGS) or "no tag has moved" in told or "has moved none" in told:
        return told
    return f"no tag has moved: {told}"
