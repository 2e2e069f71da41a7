"""The Docker engine through its SDK: is it there, can its image store do it, load an image, run one."""

import io
import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from builder.engine.build_log import IMAGE_STORE_HINT
from builder.engine.docker_context import check_context, no_engine
from builder.errors import EngineError
from builder.oci.layout import Layout
from builder.oci.manifest import INDEX, Descriptor
from builder.oci.reference import ImageReference, Platform

if TYPE_CHECKING:
    from docker import DockerClient

# An engine that stores a large image, or whose disk is busy, is silent for a while.
_SILENCE_SECONDS = 120
_SNAPSHOTTER = "io.containerd.snapshotter.v1"


class DockerEngine:
    """One engine, found as the Docker CLI finds it: DOCKER_HOST, DOCKER_CONTEXT, the current context."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def ping(self) -> None:
        """Raises EngineError where no engine answers."""
        self._connect().close()

    def version(self) -> str:
        """Such as `28.5.2`. Raises EngineError where no engine answers."""
        return str(self._info().get("ServerVersion", "of an unknown version"))

    def check(self) -> None:
        """Raises EngineError unless the engine answers and its image store can hold and export several platforms."""
        info = self._info()
        if ["driver-type", _SNAPSHOTTER] not in [list(pair) for pair in info.get("DriverStatus") or ()]:
            raise EngineError(
                f"Docker's image store ({info.get('Driver', 'unknown')}) cannot export images for several platforms",
                hint=IMAGE_STORE_HINT,
            )

    def _info(self) -> dict[str, Any]:
        import docker

        client = self._connect()
        try:
            info: dict[str, Any] = client.info()
        except (docker.errors.APIError, OSError) as error:
            raise EngineError(f"the Docker engine does not answer: {error}") from error
        finally:
            client.close()
        return info

    def load(self, layout: Layout, descriptor: Descriptor, references: Sequence[ImageReference]) -> None:
        """Load one platform's image of a layout under these names. Raises EngineError."""
        import docker

        client = self._connect()
        try:
            with tempfile.TemporaryFile() as archive:
                _write_archive(layout, descriptor, references, archive)
                archive.seek(0)
                client.images.load(archive)
        except (docker.errors.APIError, docker.errors.ImageLoadError, OSError) as error:
            raise EngineError(f"Docker cannot load {references[0]}: {error}") from error
        finally:
            client.close()

    def run(self, reference: str, platform: Platform, command: Sequence[str], entrypoint: str = "") -> str:
        """Run a command of an image on a platform, without network, and give what it prints. Raises EngineError."""
        import docker

        client = self._connect()
        try:
            output: bytes = client.containers.run(
                reference,
                list(command),
                entrypoint=entrypoint or None,
                platform=str(platform),
                remove=True,
                network_mode="none",
                stdout=True,
                stderr=True,
            )
        except (docker.errors.APIError, docker.errors.ContainerError, docker.errors.ImageNotFound, OSError) as error:
            raise EngineError(
                f"{reference} does not run on {platform}: {error}",
                hint="`exec format error` for another platform's image means that the machine cannot emulate it: "
                "install qemu-user-static.",
            ) from error
        finally:
            client.close()
        return output.decode(errors="replace")

    def _connect(self) -> "DockerClient":
        import docker

        check_context(self._environment)
        client: DockerClient | None = None
        try:
            client = docker.from_env(environment=dict(self._environment), timeout=_SILENCE_SECONDS)
            client.ping()
        except (docker.errors.DockerException, OSError) as error:
            if client:
                client.close()
            raise no_engine(self._environment, error) from error
        return client


def _write_archive(layout: Layout, descriptor: Descriptor, references: Sequence[ImageReference], file: IO[bytes]) -> None:
    """The image as an OCI archive, which both of Docker's image stores can load (the older one since Docker 25)."""
    manifest = layout.manifest(descriptor)
    entries = [
        {
            **descriptor.to_json(),
            "annotations": {"io.containerd.image.name": str(name), "org.opencontainers.image.ref.name": name.tag},
        }
        for name in references
    ]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in (("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)):
            _add(tar, name, content)
        for blob in (descriptor, manifest.config(), *manifest.layers()):
            tar.add(layout.blob(blob.digest), arcname=f"blobs/sha256/{blob.digest.hex}")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))
