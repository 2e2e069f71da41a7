"""Reads what buildx says of a build, and explains why it failed."""

import base64
from collections.abc import Callable

from builder.errors import AssembleError, BaseImageError, BuilderError, EngineError
from builder.oci.reference import redact_url
from builder.ports import ProcessFailed
from builder.runtime.json_document import list_of, object_of, parse_json, text_of

IMAGE_STORE_HINT = (
    'Turn on the containerd image store: {"features": {"containerd-snapshotter": true}} in /etc/docker/daemon.json, then '
    "restart Docker; or use another builder: `docker buildx create --name multi --driver docker-container`, then "
    "--builder multi."
)


_KEPT_OUTPUT = 1 << 16


class BuildLog:
    """Reads `--progress=rawjson`: one JSON object a line, and other lines between them."""

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self._on_progress = on_progress
        self._plain: list[str] = []
        self._output = b""

    def read_line(self, line: str) -> None:
        """Take one line of stderr."""
        if not line.startswith("{"):
            self._plain.append(line)
            return
        try:
            status = object_of(parse_json(line))
            vertexes, logs = list_of(status.get("vertexes")), list_of(status.get("logs"))
            started = [vertex for vertex in map(object_of, vertexes) if vertex.get("started") and not vertex.get("completed")]
            outputs = [base64.b64decode(text_of(log.get("data"))) for log in map(object_of, logs)]
        except ValueError:
            # Not of buildx's own, or of another version of it: text like other lines.
            self._plain.append(line)
            return
        for vertex in started:
            self._on_progress(str(vertex.get("name", "")))
        for output in outputs:
            self._read_output(output)

    def _read_output(self, data: bytes) -> None:
        """What programs of the build print; the end of it is kept to explain a failure."""
        self._output = (self._output + data)[-_KEPT_OUTPUT:]
        for line in data.decode(errors="replace").splitlines():
            if line.strip():
                self._on_progress(line)

    def output(self) -> str:
        """The end of what programs printed."""
        return self._output.decode(errors="replace")

    def cause(self, stderr: str) -> str:
        """The last `ERROR:`: other errors before it are of steps that were only cancelled."""
        errors = [line for line in self._plain if line.startswith("ERROR:")]
        return (errors[-1] if errors else last_line(stderr)).removeprefix("ERROR:").strip()

    def excerpt(self) -> str:
        """What buildx printed around the cause: the place in the Dockerfile."""
        return "\n".join(line for line in self._plain if line.strip())[-2000:]


def explain(log: BuildLog, error: ProcessFailed) -> BuilderError:
    """The error that a failed build means to a user."""
    cause = redact_url(log.cause(error.stderr))
    if "no match for platform in manifest" in cause:
        return BaseImageError(
            f"an image lacks the platform of the node that needs it: {cause}",
            hint="An image to compile in (--compile-in) must have the platform of every node that compiles.",
        )
    if "failed to resolve source metadata" in cause or "failed to authorize" in cause or "pull access denied" in cause:
        return BaseImageError(
            f"the engine cannot get a base image: {cause}",
            hint="The engine pulls by itself: for a registry over plain HTTP, list it as insecure in its daemon.json.",
        )
    if "not supported for the docker driver" in cause:
        return EngineError(cause, hint=IMAGE_STORE_HINT)
    if "Cannot connect to the Docker daemon" in cause:
        return EngineError(cause, hint="Start Docker, or point DOCKER_HOST or DOCKER_CONTEXT at a running engine.")
    return AssembleError(f"docker buildx bake failed: {cause}\n{log.excerpt()}".strip(), output=log.output())


def last_line(text: str) -> str:
    """The last line that says anything, bounded."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"
