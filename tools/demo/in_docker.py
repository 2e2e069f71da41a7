"""The same images run by Docker, on both platforms, where it answers."""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress

import docker

from builder.engine.docker import DockerEngine
from builder.errors import EngineError
from builder.oci.reference import SUPPORTED_PLATFORMS, ImageReference, Platform
from tools.demo.pulled import ENVOY, ISTIOCTL, NATIVE, CannotRun, questions


def why_no_docker(environment: Mapping[str, str]) -> str:
    """Why Docker cannot take part, "" where it can: it has to answer, and to reach our loopback."""
    address = environment.get("DOCKER_HOST", "")
    if address and not address.startswith("unix://"):
        return "it is on another machine, which does not reach this one's loopback"
    try:
        DockerEngine(environment).check()
    except EngineError as error:
        return error.message
    return ""


def run_in_docker(references: Sequence[ImageReference], environment: Mapping[str, str]) -> None:
    """Ask each image for its version, and Envoy for its own. What was pulled for it goes: the engine may be the user's own.

    Raises CannotRun where one does not run on this machine's own platform. The other needs emulation, which most machines lack.
    """
    with closing(docker.from_env(environment=dict(environment))) as client:
        for platform in map(Platform.parse, SUPPORTED_PLATFORMS):
            for reference in references:
                name = f"{reference.repository}@{reference.digest}"
                client.images.pull(str(reference.repository), tag=str(reference.digest), platform=str(platform))
                try:
                    emulated = _ask(DockerEngine(environment), reference, name, platform)
                finally:
                    with suppress(docker.errors.APIError):
                        client.images.remove(name, force=True)
                if not emulated:
                    break


def _ask(engine: DockerEngine, reference: ImageReference, name: str, platform: Platform) -> bool:
    """Whether this machine runs that platform at all."""
    image = reference.repository.path.rpartition("/")[2]
    own = ISTIOCTL if image == "istioctl" else f"the entry point of {image}"
    for path, words in questions([own], [ENVOY] if image == "proxyv2" else []):
        try:
            said = engine.run(name, platform, words, entrypoint=path if path == ENVOY else "")
        except EngineError as error:
            if platform == NATIVE:
                raise CannotRun(error.message) from error
            print(f"  {platform}: not run, as this machine does not emulate it (see qemu-user-static): {error.message}")
            return False
        print(f"  {platform} {image} {' '.join(words)}: {' '.join(said.split())}")
    return True
