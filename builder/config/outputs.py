"""What is told of a run besides stdout and stderr, and where: as it was asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import RequestError

_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """A directory for pages, files for a trace and for metrics, and whom to notify when: `change`, `failure` or `always`.

    What stands in `notify` is secret, so it is not part of what this value is shown as; an address may also be the name of a
    variable that holds it.
    """

    report: Path | None = None
    report_url: str = ""
    trace: Path | None = None
    metrics: Path | None = None
    notify: tuple[str, ...] = ()
    notify_on: str = ""

    @property
    def variables(self) -> frozenset[str]:
        """The variables that hold addresses."""
        return frozenset(filter(None, map(variable_in, self.notify)))

    def __repr__(self) -> str:
        return f"Outputs(report={self.report}, trace={self.trace}, metrics={self.metrics}, notify={len(self.notify)})"


NOTHING_MORE = Outputs()


def variable_in(address: str) -> str:
    """The name in `$NAME` or `${NAME}`, "" where an address stands there itself."""
    match = _VARIABLE.fullmatch(address)
    return match[1] if match else ""


def check_addresses(addresses: Sequence[str], file: str) -> None:
    """Raises RequestError where a file (its name and line; "" for flags and variables) holds an address itself."""
    if file and not all(variable_in(address) for address in addresses):
        raise RequestError(
            f"{file}: notify holds an address, and such are secrets that do not belong into a file",
            hint="Set ISTIO_BUILD_NOTIFY instead, or write `notify: $NAME` for a variable that holds it.",
        )
