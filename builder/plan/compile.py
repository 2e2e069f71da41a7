"""Plans what is compiled: one `go build` for all programs of one tag set on one platform. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from builder.config.go_version import version_key
from builder.config.request import Request
from builder.errors import ToolchainError
from builder.oci.reference import Digest, Platform
from builder.plan.go_build import check_go_request, go_command, go_environment
from builder.plan.lock import Lock
from builder.plan.model import CompileStep
from builder.plan.selection import platform_values
from builder.recipe.book import RecipeBook
from builder.recipe.template import render_text

# The Dockerfile of compiling in an image; like others it can be replaced by one of the user's.
COMPILE_TEMPLATE = "compile.Dockerfile.j2"


def check_go(request: Request, lock: Lock) -> None:
    """Of a Go that only its image knows, the go command itself says whether it is too old."""
    wanted, found = lock.source.go_directive, lock.go.version
    if found and version_key(found) < version_key(wanted):
        raise ToolchainError(
            f"Go {found} is too old: this Istio's go.mod wants {wanted} or newer ({lock.go.reason or 'this machine has it'})",
            hint=f"Leave out --go and --compile-in for Go {wanted}, or install Go {wanted} or newer "
            "(`pip install 'istio-build[go]'`).",
        )
    check_go_request(request.go, found)


def plan_compiles(
    request: Request,
    book: RecipeBook,
    lock: Lock,
    values: Mapping[str, Any],
    platforms: Sequence[Platform],
    packages: Mapping[str, tuple[str, ...]],
) -> tuple[CompileStep, ...]:
    """One step for each platform and set of build tags; `packages` are the mains of each set. Raises RecipeError."""
    go = book.release.go
    template = dict(book.templates)[COMPILE_TEMPLATE]
    container = f"{lock.go.image.digest} {Digest.of(template.encode())}" if lock.go.image else ""
    steps = []
    for platform in platforms:
        here = {**values, **platform_values(platform)}
        stamp = [
            f"-X {go.stamp_package}.{name}={render_text(value, here, f'release.yaml: go.stamp.{name}')}"
            for name, value in go.stamp.items()
        ]
        environment = go_environment(platform, lock.go.version, go, request.go)
        for tag_set, mains in sorted(packages.items()):
            steps.append(
                CompileStep(
                    key=f"{platform.slug}/{tag_set}",
                    platform=platform,
                    command=go_command(go, request.go, stamp, go.tags[tag_set], mains),
                    env=tuple(sorted(environment.items())),
                    container=container,
                    unstamped=go_command(go, request.go, (), go.tags[tag_set], ()).options,
                )
            )
    return tuple(steps)
