"""What a build achieved: layouts, and the images that could not be made, while the others were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.errors import BuilderError, Outcome
from builder.oci.layout import Layout
from builder.oci.reference import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An image that could not be made on a platform, "" where it is copied whole."""

    key: str
    platform: Platform | None
    error: BuilderError


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Checked layouts by the keys of their images, and what failed. `made` are the images and platforms that were made."""

    layouts: Mapping[str, Layout]
    made: tuple[tuple[str, Platform | None], ...] = ()
    failures: tuple[Failure, ...] = ()

    def error(self, unchanged: Sequence[str] = ()) -> BuilderError:
        """The error to end the run with: the first failure's, which tells of the others, too. `unchanged` were there already.

        A failure that several images share, such as that of a program which all hold, is told once.
        """
        causes: dict[str, tuple[BuilderError, list[str]]] = {}
        for failure in self.failures:
            name = f"{failure.key} on {failure.platform}" if failure.platform else failure.key
            # A program that does not compile does so on no platform, for the same reason.
            cause = failure.error.message.replace(str(failure.platform), "")
            causes.setdefault(cause, (failure.error, []))[1].append(name)
        error = next(iter(causes.values()))[0]
        error.ledger = self._ledger(unchanged)
        texts = [f"{cause.message}\nso there is no {', '.join(names)}" for cause, names in causes.values()]
        failed = {failure.key for failure in self.failures}
        others = sorted({*self.layouts, *unchanged} - failed)
        error.message = "\n".join(texts) + (f"\nthe others are made: {', '.join(others)}" if others else "")
        return error

    def _ledger(self, unchanged: Sequence[str]) -> tuple[Outcome, ...]:
        entries = [Outcome(image=key, platform="", state="unchanged") for key in unchanged]
        entries += [Outcome(image=key, platform=str(platform or ""), state="built") for key, platform in self.made]
        entries += [
            Outcome(image=one.key, platform=str(one.platform or ""), state="failed", error=one.error.message)
            for one in self.failures
        ]
        return tuple(sorted(entries, key=lambda entry: (entry.image, entry.platform)))
