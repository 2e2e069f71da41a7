"""The command and the environment of a `go build`. Pure.

What DEBUG=1 does is Makefile.core.mk's and common/scripts/gobuild.sh's in istio/istio, alike from 1.10 to 1.29: no linker
flags but the stamp, `-gcflags "all=-N -l"`, and no -trimpath.
"""

from collections.abc import Sequence

from builder.config.go_options import C_COMPILER, flag_name
from builder.config.go_version import version_key
from builder.config.request import GoRequest
from builder.errors import ToolchainError
from builder.oci.reference import Platform
from builder.ports import GoCommand
from builder.recipe.schema import Go

_DEBUG_FLAGS = ("-gcflags", "all=-N -l")
# Debian's names of its C compilers, of which each is there for the machine's own platform, too.
_C_COMPILERS = {"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}
_FIRST_WITH_FIPS140 = (1, 24, 0)


def go_command(recipe: Go, request: GoRequest, stamp: Sequence[str], tags: Sequence[str], packages: tuple[str, ...]) -> GoCommand:
    """The command. The user's -ldflags and -tags are added to the recipe's, as Go takes the last only."""
    extra = [flag for flag in request.flags if flag_name(flag) not in ("-ldflags", "-tags")]
    own_ldflags = [_value(flag) for flag in request.flags if flag_name(flag) == "-ldflags"]
    own_tags = [tag for flag in request.flags if flag_name(flag) == "-tags" for tag in _value(flag).replace(",", " ").split()]
    flags = [flag for flag in recipe.flags if not (request.debug and flag == "-trimpath")]
    flags += _DEBUG_FLAGS if request.debug else ()
    ldflags = [*([] if request.debug else recipe.ldflags), *stamp, *own_ldflags]
    all_tags = tuple(dict.fromkeys((*tags, *own_tags)))
    return GoCommand(flags=(*flags, *extra), ldflags=tuple(ldflags), tags=all_tags, packages=packages)


def go_environment(platform: Platform, go_version: str, recipe: Go, request: GoRequest) -> dict[str, str]:
    """All of Go's environment that decides bytes; GOENV=off keeps the machine's own settings out.

    Go's own stamp of the revision is off: it depends on how the tree was cloned (none in a git worktree, another module
    version where tags are missing), so the same commit would not give the same bytes. Istio's stamp has the revision.
    """
    # Go before 1.18 has neither the stamp nor the flag; in an image that does not tell its Go, there is no .git to read.
    flags = "-buildvcs=false" if version_key(go_version) >= (1, 18, 0) else ""
    wished = {name: value for name, value in request.env if not name.startswith(f"{C_COMPILER}_")}
    env = {
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOAMD64": "v1",
        "GOARCH": platform.architecture,
        "GOARM64": "v8.0",
        "GODEBUG": "",
        "GOENV": "off",
        "GOEXPERIMENT": "",
        "GOFIPS140": "off",
        "GOFLAGS": flags,
        "GOOS": platform.os,
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        **recipe.env,
        **wished,
    }
    if env["CGO_ENABLED"] == "1":
        env[C_COMPILER] = dict(request.env).get(c_compiler_setting(platform), _C_COMPILERS.get(platform.architecture, "cc"))
    return env


def c_compiler_setting(platform: Platform) -> str:
    """`CC_linux_arm64`, with which --go-env names the C compiler for a platform."""
    return f"{C_COMPILER}_{platform.slug}"


def check_go_request(request: GoRequest, go_version: str) -> None:
    """Raises ToolchainError where this Go would leave out in silence what was asked for."""
    fips = dict(request.env).get("GOFIPS140", "off")
    if fips != "off" and go_version and version_key(go_version) < _FIRST_WITH_FIPS140:
        raise ToolchainError(
            f"GOFIPS140={fips} needs Go 1.24 or newer; Go {go_version} would build without it",
            hint="Choose a newer Go with --go, or GOEXPERIMENT=boringcrypto, which Go 1.19 and newer know.",
        )


def _value(flag: str) -> str:
    return flag.partition("=")[2]
