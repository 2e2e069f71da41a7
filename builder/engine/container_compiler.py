"""Compiles in an image: a build of its own, for the builder's platform, whose only result is the programs."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builder.engine.bake import compile_definition
from builder.engine.buildx import Buildx
from builder.errors import AssembleError
from builder.ports import GoBuild, ProcessFailed

# How the image is laid out while it compiles; the template mounts what is named here.
_PROGRAMS = "/istio-build/programs"
_PLACES = (
    ("GOCACHE", "/istio-build/build"),
    ("GOENV", "/run/secrets/goenv"),
    ("GOMODCACHE", "/istio-build/modules"),
    ("GOPATH", "/istio-build/go"),
    ("NETRC", "/run/secrets/netrc"),
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
# The revision is stamped by us, and git's own files change with every fetch.
_IGNORED = ".git\n"


class ContainerCompiler:
    """Implements `ports.Compiler` with BuildKit.

    `render` makes the Dockerfile of an environment and a command. `settings` are the caller's, of where modules come
    from; in the image Go reads them from a file as its owner's own (GOENV), which is a build secret, as is ~/.netrc.
    """

    def __init__(
        self,
        render: Callable[[tuple[tuple[str, str], ...], tuple[str, ...]], str],
        settings: tuple[tuple[str, str], ...],
        environment: Mapping[str, str],
        engine: Buildx,
    ) -> None:
        self._render = render
        self._settings = settings
        self._environment = environment
        self._engine = engine

    def build(self, build: GoBuild, on_line: Callable[[str], None]) -> None:
        """See `ports.Compiler.build`. The tree is always at /src, so not even a debugger's build depends on where it was."""
        env = tuple(sorted({**dict(build.env), **dict(_PLACES)}.items()))
        command = build.command.argv(into=f"{_PROGRAMS}/")
        dockerfile = build.into.with_name(f"{build.into.name}.image") / "Dockerfile"
        dockerfile.parent.mkdir(parents=True, exist_ok=True)
        dockerfile.write_text(self._render(env, command), encoding="utf-8")
        # Beside the Dockerfile it counts instead of the tree's own, which is meant for other builds.
        dockerfile.with_name("Dockerfile.dockerignore").write_text(_IGNORED, encoding="utf-8")
        try:
            self._engine.bake(self._definition(build, dockerfile), lambda text: on_line(_brief(text)), self._secrets())
        except AssembleError as error:
            failed = re.search(r"did not complete successfully: exit code: (\d+)", error.message)
            if not failed:
                raise
            raise ProcessFailed(command, int(failed[1]), "", error.output) from error

    def _definition(self, build: GoBuild, dockerfile: Path) -> dict[str, Any]:
        proxies = {name: self._environment[name] for name in _PROXIES if self._environment.get(name)}
        netrc = self._netrc()
        secrets = ["id=goenv,env=ISTIO_BUILD_GOENV", *([f"id=netrc,src={netrc}"] if netrc else [])]
        return compile_definition(build, dockerfile, secrets, proxies)

    def _secrets(self) -> dict[str, str]:
        places = dict(_PLACES)
        return {"ISTIO_BUILD_GOENV": "".join(f"{name}={value}\n" for name, value in self._settings if name not in places)}

    def _netrc(self) -> Path | None:
        """Where Go itself looks for credentials of module proxies."""
        path = Path(self._environment.get("NETRC") or Path(self._environment.get("HOME", "/root"), ".netrc"))
        return path if path.is_file() else None


def _brief(text: str) -> str:
    """A step's name without the whole command, which is long."""
    return text.partition(" --mount=")[0]
