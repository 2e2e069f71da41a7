"""Chooses the Go that compiles: the one the release asks for, unless the user wants another or it cannot be had."""

from collections.abc import Callable
from dataclasses import dataclass

from builder.config.go_version import is_minor_line, last_patch, version_key
from builder.config.request import GO_WISHES
from builder.errors import ToolchainError
from builder.ports import GoToolchain, GoToolchains, GoUnavailable
from builder.recipe.schema import Go

_RELEASE, _MACHINE, _NEWEST = GO_WISHES
# Go 1.21 is the first that fetches others (https://go.dev/doc/toolchain).
_FIRST_THAT_SWITCHES = (1, 21, 0)
_WAYS_OUT = "Take this machine's with --go machine, or compile in an image with --compile-in."


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenGo:
    """A Go to compile with, and why it is this one."""

    toolchain: GoToolchain
    reason: str


def choose_go(wish: str, directive: str, recipe: Go, toolchains: GoToolchains, warn: Callable[[str], None]) -> ChosenGo:
    """The Go for a source whose go.mod says `directive`; `wish` is `release`, `machine`, `newest` or a version.

    Raises ToolchainError where there is no Go at all, or the version that was asked for by name cannot be had.
    """
    if wish == _MACHINE:
        _check_new_enough(toolchains.installed().version, directive, "--go machine: this machine's Go")
        chosen = ChosenGo(toolchain=toolchains.installed(), reason="this machine's: --go machine")
    elif wish in (_RELEASE, _NEWEST):
        chosen = _choose_or_fall_back(wish, directive, toolchains, warn)
    else:
        chosen = _choose_named(wish, directive, toolchains)
    _warn_if_too_new(chosen.toolchain.version, recipe, warn)
    return chosen


def _choose_or_fall_back(wish: str, directive: str, toolchains: GoToolchains, warn: Callable[[str], None]) -> ChosenGo:
    installed = toolchains.installed()
    wanted = directive if wish == _RELEASE else "the newest"
    try:
        if wish == _NEWEST:
            return _newest(toolchains)
        if is_minor_line(directive):
            version = _last_patch(directive, toolchains)
            return ChosenGo(toolchain=_obtain(version, toolchains), reason=f"last patch of {directive}, which go.mod says")
        return ChosenGo(toolchain=_obtain(directive, toolchains), reason=f"go.mod says {directive}")
    except GoUnavailable as error:
        cause = str(error)
    if version_key(installed.version) < version_key(directive):
        raise ToolchainError(
            f"Go {wanted} cannot be had ({cause}), and this machine's Go {installed.version} is older than the {directive} "
            "that go.mod wants",
            hint=_hint(cause),
        )
    warn(f"Go {wanted} cannot be had: {cause}. Compiling with this machine's Go {installed.version}. {_hint(cause)}".strip())
    return ChosenGo(toolchain=installed, reason=f"this machine's: Go {wanted} cannot be had")


def _choose_named(wish: str, directive: str, toolchains: GoToolchains) -> ChosenGo:
    # Before anything is fetched.
    _check_new_enough(wish, directive, "--go")
    try:
        if not is_minor_line(wish):
            return ChosenGo(toolchain=_obtain(wish, toolchains), reason=f"--go {wish}")
        version = _last_patch(wish, toolchains)
        return ChosenGo(toolchain=_obtain(version, toolchains), reason=f"last patch of {wish}: --go {wish}")
    except GoUnavailable as error:
        raise ToolchainError(f"Go {wish} cannot be had: {error}", hint=_hint(str(error)) or _WAYS_OUT) from error


def _check_new_enough(version: str, directive: str, what: str) -> None:
    """Since Go 1.21 no Go compiles what asks for a newer one (https://go.dev/doc/toolchain#config). Of a minor line its last
    patch would be taken, so the line alone counts.

    Raises ToolchainError.
    """
    places = 2 if is_minor_line(version) else 3
    wanted = version_key(directive)
    if wanted >= _FIRST_THAT_SWITCHES and version_key(version)[:places] < wanted[:places]:
        raise ToolchainError(
            f"{what} {version} is older than the Go {directive} that go.mod wants",
            hint=f"Leave --go out for {directive}, or name that one or a newer one.",
        )


def _newest(toolchains: GoToolchains) -> ChosenGo:
    version = last_patch(_versions(toolchains))
    return ChosenGo(toolchain=_obtain(version, toolchains), reason="the newest: --go newest")


def _last_patch(minor: str, toolchains: GoToolchains) -> str:
    found = last_patch(_versions(toolchains), minor)
    if not found:
        raise GoUnavailable(f"no version of Go {minor} is served")
    return found


def _versions(toolchains: GoToolchains) -> tuple[str, ...]:
    _check_it_switches(toolchains)
    return toolchains.versions()


def obtain_go(version: str, toolchains: GoToolchains) -> GoToolchain:
    """This very version: the machine's own, or one that it fetches. Raises ToolchainError where it cannot be had."""
    try:
        return _obtain(version, toolchains)
    except GoUnavailable as error:
        raise ToolchainError(f"Go {version} cannot be had: {error}", hint=_hint(str(error)) or _WAYS_OUT) from error


def _obtain(version: str, toolchains: GoToolchains) -> GoToolchain:
    installed = toolchains.installed()
    if installed.version == version:
        return installed
    _check_it_switches(toolchains)
    return toolchains.fetch(version)


def _check_it_switches(toolchains: GoToolchains) -> None:
    installed = toolchains.installed().version
    if version_key(installed) < _FIRST_THAT_SWITCHES:
        raise GoUnavailable(f"this machine's Go {installed} cannot fetch others, as Go 1.21 and newer do")


def _hint(cause: str) -> str:
    if "GOSUMDB=off" in cause:
        # Go will not have it otherwise: no go.sum vouches for a toolchain.
        return (
            "Go takes no other toolchain without the checksum database: leave GOSUMDB at its default (a GOPROXY may serve "
            "the database, too), or say --go machine."
        )
    # What Go says of a proxy without that version, and with GOPROXY=off.
    if "GOPROXY" in cause or "toolchain not available" in cause:
        return "Let GOPROXY name a proxy that serves golang.org/toolchain, or say --go machine."
    return ""


def _warn_if_too_new(version: str, recipe: Go, warn: Callable[[str], None]) -> None:
    if recipe.too_new and version_key(version) >= version_key(recipe.too_new):
        sign = f" It ends in `{recipe.too_new_sign}`." if recipe.too_new_sign else ""
        warn(f"This release is known not to build with Go {recipe.too_new} or newer, and this is Go {version}.{sign}")
