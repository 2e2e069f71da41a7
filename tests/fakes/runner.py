"""A `ports.ProcessRunner` that starts nothing: a function answers instead, and every call is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.ports import Completed
from tests.samples.programs import make_elf


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One program that would have been run."""

    argv: tuple[str, ...]
    cwd: Path | None
    env: Mapping[str, str]
    stdin: str


@dataclass
class FakeRunner:
    """`answer` gives what the program prints, or raises ProcessFailed; it may write files as the program would."""

    answer: Callable[[Call], Completed] = lambda call: Completed(stdout="", stderr="")
    calls: list[Call] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        on_line: Callable[[str], None] | None = None,
        idle_timeout: float | None = None,
    ) -> Completed:
        call = Call(argv=tuple(argv), cwd=cwd, env=dict(env or {}), stdin=stdin)
        self.calls.append(call)
        completed = self.answer(call)
        for line in completed.stderr.splitlines() if on_line else ():
            assert on_line is not None
            on_line(line)
        return completed


def go_build(call: Call) -> Completed:
    """An answer for FakeRunner: what `go build` does, with ELF headers for programs."""
    into = Path(call.argv[call.argv.index("-o") + 1])
    for package in (word for word in call.argv if word.startswith("./")):
        (into / Path(package).name).write_bytes(make_elf(call.env["GOARCH"]))
    return Completed(stdout="", stderr="")
