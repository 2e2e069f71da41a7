"""What happens in a schedule, as a value that can be written down, read and played again."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

# What may go wrong with one call of a run. `seconds` is how long, for those that take a while.
KINDS = {
    "refused": "it has no effect; the registry says 500",
    "busy": "it has no effect; the registry says 429",
    "denied": "it has no effect; the registry says 403, as to an expired token",
    "lost": "it takes effect, and the answer is lost",
    "late": "no answer comes, and it takes effect so many seconds later",
    "slow": "it takes effect so many seconds later, and is answered then",
    "slow answer": "it takes effect, and is answered so many seconds later",
    "damaged": "what is read is not what was asked for, or cut off; what is written is refused as malformed",
    "swallowed": "the registry says that it has taken it, and has not (a manifest or a blob; else as `refused`)",
    "interrupt": "somebody presses Ctrl-C just before it",
    "kill": "the machine is gone just before it",
    "kill after": "it takes effect, and the machine is gone",
    "kill late": "the machine is gone, and what it had sent takes effect so many seconds later",
}
TIMED = ("late", "slow", "slow answer", "kill late")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something goes wrong with the call of this number (from 0) that a run makes to the registry."""

    call: int
    kind: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One push: of which release, from which machine, when it starts, and what goes wrong.

    `skew` is by how many seconds the machine's calendar is wrong. `sends`: whether the hub lacks its content. `counted`: whether
    its tags have a number that was free when it was chosen.
    """

    release: str
    tags: tuple[str, ...] = ("1.29",)
    machine: int = 0
    start: float = 0.0
    skew: float = 0.0
    sends: bool = False
    counted: bool = False
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Somebody who knows of no lease does something: `move` or `delete` a tag, or `sweep` an image's record away.

    That is at some time, or just after a `call` of a run (from 0) has taken effect.
    """

    what: str
    image: str
    tag: str = "1.29"
    at: float = 0.0
    run: int | None = None
    call: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A schedule. A call takes 5 ms each way, and up to `spread` seconds more, by dice that `seed` throws.

    `deletes`: whether the registry can delete tags. `checks`: whether it looks that what a manifest names is there.
    `records`: whether it takes the records of runs.
    """

    runs: tuple[Run, ...]
    acts: tuple[Act, ...] = ()
    seed: int = 0
    spread: float = 0.0
    deletes: bool = True
    checks: bool = True
    records: bool = True

    def to_json(self) -> str:
        """One line for each run and act, without what is as ever."""
        head = _short(self)
        runs = ",\n".join(f"  {json.dumps(_run_json(run))}" for run in self.runs)
        acts = ",\n".join(f"  {json.dumps(_short(act))}" for act in self.acts)
        lines = [f'"{key}": {json.dumps(value)}' for key, value in head.items() if key not in ("runs", "acts")]
        lines.append(f'"runs": [\n{runs}\n]')
        if acts:
            lines.append(f'"acts": [\n{acts}\n]')
        return "{" + ",\n".join(lines) + "}\n"

    @classmethod
    def from_json(cls, text: str) -> "Script":
        """Read one. `about`, which says what it shows, is for people. Raises ValueError, TypeError or KeyError."""
        document: dict[str, Any] = json.loads(text)
        document.pop("about", None)
        runs = tuple(_read_run(run) for run in document.pop("runs"))
        acts = tuple(Act(**act) for act in document.pop("acts", ()))
        return cls(runs=runs, acts=acts, **document)


def _run_json(run: Run) -> dict[str, Any]:
    short = _short(run)
    if run.faults:
        short["faults"] = [_short(fault) for fault in run.faults]
    return short


def _read_run(value: dict[str, Any]) -> Run:
    faults = tuple(Fault(**fault) for fault in value.pop("faults", ()))
    tags = tuple(value.pop("tags", ("1.29",)))
    return Run(tags=tags, faults=faults, **value)


def _short(value: Script | Run | Act | Fault) -> dict[str, Any]:
    """Its fields that are not as ever."""
    defaults = {field.name: field.default for field in fields(value)}
    return {name: entry for name, entry in asdict(value).items() if entry != defaults[name]}
