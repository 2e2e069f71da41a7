"""What is sent and what comes back must be what was meant: digests and sizes."""

from pathlib import Path

from builder.errors import CheckError, RegistryError
from builder.oci.manifest import Descriptor
from builder.oci.reference import Digest
from builder.registry.response import Answer
from builder.runtime.retry import RetryableError


def check_digest(act: str, expected: Digest, content: bytes) -> None:
    """Raises RegistryError where a registry sent other bytes than were asked for."""
    if Digest.of(content) != expected:
        raise RegistryError(
            f"cannot {act}: the registry sent other bytes, {Digest.of(content)}",
            hint="A proxy or cache may alter answers on the way, or the registry's storage is damaged.",
            damaged=True,
        )


def check_document(act: str, answer: Answer, largest: int) -> None:
    """Raises RegistryError for a manifest or a list of more bytes than any has; what came of it is not looked at."""
    if len(answer.content) > largest:
        raise RegistryError(
            f"cannot {act}: it has more than {largest} bytes, and no manifest has",
            hint="Is it an image? Something else may have been pushed there, or the registry's storage is damaged.",
            status=answer.status,
            damaged=True,
        )


def check_manifest(act: str, expected: Digest | None, answer: Answer) -> None:
    """Raises RegistryError where a manifest is not of the digest that was asked for, and RetryableError where, asked for by its
    tag, it is not of the one that the registry announces (distribution-spec: Docker-Content-Digest): it was cut short or
    altered on the way.
    """
    if expected:
        check_digest(act, expected, answer.content)
        return
    announced = answer.headers.get("Docker-Content-Digest", "")
    if announced.startswith("sha256:") and announced != str(Digest.of(answer.content)):
        raise RetryableError(
            RegistryError(
                f"cannot {act}: the registry announces {announced[:100]}, but {len(answer.content)} bytes came that are "
                f"{Digest.of(answer.content)}",
                hint="A proxy or cache may cut answers short or alter them on the way.",
                temporary=True,
            )
        )


def check_stored(act: str, expected: Digest, answer: Answer) -> None:
    """Raises RegistryError where a registry says that it stored something else."""
    stored = answer.headers.get("Docker-Content-Digest", "")
    if stored and stored != str(expected):
        raise RegistryError(f"cannot {act}: the registry stored it as {stored}, not as {expected}", status=answer.status)


def is_confirmed(answer: Answer) -> bool:
    """Whether a registry says that it stored a manifest: with 201 (distribution-spec, "Pushing Manifests"), or, as some do, with
    another status and the digest. A proxy that wants people to log in says 200, too.
    """
    return answer.status == 201 or bool(answer.headers.get("Docker-Content-Digest"))


def unconfirmed(act: str, answer: Answer) -> RegistryError:
    """The error for a manifest that is not there although it was answered with a status of success."""
    return RegistryError(
        f"cannot {act}: the answer was {answer.status}, and it is not there",
        hint="Does a proxy on the way answer in place of the registry, such as one that asks for a login? "
        "HTTPS_PROXY and NO_PROXY say which hosts go through one.",
        status=answer.status,
    )


def check_size(descriptor: Descriptor, content: Path) -> None:
    """Raises CheckError where a file is not of its descriptor's size."""
    try:
        size = content.stat().st_size
    except OSError as error:
        raise CheckError(f"cannot read blob {descriptor.digest.short}: {content}: {error.strerror}") from error
    if size != descriptor.size:
        raise CheckError(f"{content} has {size} bytes, its descriptor says {descriptor.size}")
