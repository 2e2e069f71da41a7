"""Why no Docker engine answers: which one was meant, as the Docker CLI finds it, and who may speak to it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from builder.errors import EngineError

_LONGEST = 1 << 20


def no_engine(environment: Mapping[str, str], error: BaseException) -> EngineError:
    """The error to raise where Docker's SDK found none."""
    reason = str(error).partition("\n")[0][:300]
    context = describe_context(environment)
    where = f" at {context}" if context else ""
    if any(isinstance(cause, PermissionError) for cause in _causes(error)) or "permission denied" in reason.lower():
        return EngineError(
            f"no Docker engine answers{where}: this user may not speak to its socket ({reason})",
            hint="Docker runs, but for root and the group docker: `sudo usermod -aG docker $USER`, then log in again. "
            "Or do without Docker: --engine builtin.",
        )
    if context:
        return EngineError(f"no Docker engine answers{where}: {reason}", hint=CONTEXT_HINT)
    return EngineError(
        f"no Docker engine answers: {reason}",
        hint="Start Docker, or point DOCKER_HOST or DOCKER_CONTEXT at a running engine.",
    )


def check_context(environment: Mapping[str, str]) -> None:
    """Raises EngineError where a context is named that there is not: Docker's SDK would take the default one instead."""
    name, origin = _named_context(environment)
    meta = _configuration(environment) / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    if name and not meta.exists():
        raise EngineError(f"there is no Docker context {name!r}, which {origin} names", hint=CONTEXT_HINT)


CONTEXT_HINT = "`docker context ls` shows which there are, and where they lead; `docker context use` chooses another one."


def describe_context(environment: Mapping[str, str]) -> str:
    """The context that is not the default one, and who names it; "" where there is none."""
    name, origin = _named_context(environment)
    return f"the context {name!r} ({origin})" if name else ""


def _named_context(environment: Mapping[str, str]) -> tuple[str, str]:
    """DOCKER_HOST is before DOCKER_CONTEXT, and that is before what `docker context use` wrote (docker/cli, command/cli.go)."""
    if environment.get("DOCKER_HOST"):
        return "", ""
    name, origin = environment.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not name:
        path = _configuration(environment) / "config.json"
        name, origin = _current_context(path), str(path)
    return (name, origin) if name != "default" else ("", "")


def _configuration(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME", "/root"), ".docker"))


def _current_context(path: Path) -> str:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_LONGEST))
        name = document.get("currentContext", "")
        return name if isinstance(name, str) else ""
    except (OSError, ValueError, AttributeError, RecursionError):
        # Whoever needs more of this file says what is wrong with it.
        return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """It, and what it was raised from or while handling, or holds (urllib3 has the cause among the arguments)."""
    pending: list[object] = [error]
    seen: list[int] = []
    while pending:
        cause = pending.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.append(id(cause))
            yield cause
            pending += [*cause.args, cause.__cause__, cause.__context__]
