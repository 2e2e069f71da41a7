"""Names of things in registries, parsed once at the edge: platforms, digests, hubs, tags, image references.

Grammar: https://github.com/distribution/reference/blob/v0.6.0/reference.go and OCI image-spec v1.1 descriptor.md.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from builder.errors import RequestError

_DOMAIN = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::\d+)?")
_IPV6_DOMAIN = re.compile(r"\[[0-9a-fA-F:]+\](?::\d+)?")
_PATH_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# Where a run that moves tags says so, in each repository: see builder.publish.hub_record.
RECORD_TAG = "istio-build-run"
# What is written down of a repository's releases: see builder.publish.history.
HISTORY_TAG = "istio-build-history"
# With what `retain` tries whether a registry takes away a tag and no more: see builder.pipeline.retain.
TRIAL_TAGS = ("istio-build-retain", "istio-build-retain-2")
RESERVED_TAGS = (HISTORY_TAG, RECORD_TAG, *TRIAL_TAGS)

SUPPORTED_PLATFORMS = ("linux/amd64", "linux/arm64")


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system and architecture, as OCI and Go name them: `linux/arm64`."""

    os: str
    architecture: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `linux/arm64` (`linux/arm64/v8` is the same). Raises RequestError for what Istio cannot run on."""
        normal = text.strip().lower().replace("x86_64", "amd64").replace("aarch64", "arm64")
        if normal == "linux/arm64/v8":
            normal = "linux/arm64"
        if normal not in SUPPORTED_PLATFORMS:
            meant = f"Did you mean linux/{normal}? " if f"linux/{normal}" in SUPPORTED_PLATFORMS else ""
            raise RequestError(
                f"platform {text!r} is not one that Istio supports",
                hint=f"{meant}Istio and its Envoy are built for {' and '.join(SUPPORTED_PLATFORMS)} only.",
            )
        system, architecture = normal.split("/")
        return cls(system, architecture)

    @property
    def slug(self) -> str:
        """A name for directories and bake targets: `linux_arm64`."""
        return f"{self.os}_{self.architecture}"

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content address: `sha256:` and 64 hex digits."""

    text: str

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.text):
            raise RequestError(f"{self.text!r} is not a sha256 digest")

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The digest of these bytes."""
        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @property
    def hex(self) -> str:
        """The 64 hex digits."""
        return self.text.removeprefix("sha256:")

    @property
    def short(self) -> str:
        """The first 12 hex digits, for people."""
        return self.hex[:12]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository in a registry: `registry.corp.example:5000/istio/pilot`."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"

    def at(self, where: "str | Digest") -> "ImageReference":
        """The image with this tag or digest."""
        if isinstance(where, Digest):
            return ImageReference(self, digest=where)
        return ImageReference(self, tag=where)

    @property
    def hub(self) -> "Hub":
        """The hub that an image in it is at: the registry, and the path before the image's name."""
        return Hub(self.registry, self.path.rpartition("/")[0])


@dataclass(frozen=True, slots=True, order=True)
class Hub:
    """Where a set of images lives: a registry and a path before each image's name, as Istio's HUB."""

    registry: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `docker.io/me` or `localhost:5000/istio`. Raises RequestError, saying what is wrong with it."""
        bare = text.strip().rstrip("/")
        example = "A hub is a registry and a path, such as docker.io/me or registry.corp.example:5000/istio."
        if "://" in bare:
            raise RequestError(
                f"hub {redact_url(text)!r} must not have a scheme",
                hint=f"Leave out {bare.split('://')[0]}://. {example}",
            )
        if "@" in bare:
            raise RequestError("a hub must not hold credentials or a digest", hint=f"Log in with `docker login`. {example}")
        registry, _, path = bare.partition("/")
        registry = "docker.io" if registry == "index.docker.io" else registry
        if registry == "docker.io" and not path:
            raise RequestError(f"hub {text!r} lacks your name at Docker Hub", hint=f"Give it as docker.io/me. {example}")
        if not is_registry_host(registry):
            raise RequestError(
                f"hub {text!r} does not start with a registry", hint=f"Did you mean docker.io/{bare or 'me'}? {example}"
            )
        if ":" in path:
            raise RequestError(f"hub {text!r} must not have a tag", hint=f"Give the tag with --tag. {example}")
        for component in path.split("/") if path else ():
            if not _PATH_COMPONENT.fullmatch(component):
                raise RequestError(
                    f"hub {text!r} is malformed at {component!r}",
                    hint=f"Only lower-case letters, digits and single separators ._- between them are allowed. {example}",
                )
        return cls(registry, path)

    def repository(self, image: str) -> Repository:
        """Where the image of this name lives."""
        return Repository(self.registry, f"{self.path}/{image}" if self.path else image)

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}" if self.path else self.registry


@dataclass(frozen=True, slots=True, order=True)
class ImageReference:
    """One image: a repository with a tag, a digest, or both (then the digest decides)."""

    repository: Repository
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse as Docker does: `ubuntu` is `docker.io/library/ubuntu:latest`. Raises RequestError."""
        rest, at, digest_text = text.strip().partition("@")
        head, slash, last = rest.rpartition("/")
        name, colon, tag = last.partition(":")
        whole = f"{head}{slash}{name}"
        registry, slash, path = whole.partition("/")
        if not slash or not is_registry_host(registry):
            registry, path = "docker.io", whole
        if registry in ("docker.io", "index.docker.io"):
            registry, path = "docker.io", path if "/" in path else f"library/{path}"
        if not all(_PATH_COMPONENT.fullmatch(part) for part in path.split("/")) or (colon and not _TAG.fullmatch(tag)):
            raise RequestError(f"{redact_url(text)!r} is not an image reference", hint="Write it as docker.io/istio/base:1.29.0.")
        digest = Digest(digest_text) if at else None
        return cls(Repository(registry, path), tag or ("" if digest else "latest"), digest)

    @property
    def key(self) -> str:
        """What the registry's API is asked for: the digest, else the tag."""
        return str(self.digest) if self.digest else self.tag

    def pinned(self, digest: Digest) -> "ImageReference":
        """The same, bound to a digest."""
        return ImageReference(self.repository, self.tag, digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"


def is_registry_host(text: str) -> bool:
    """Whether Docker would take this first component for a registry and not for a Docker Hub user."""
    looks_like_host = "." in text or ":" in text or text == "localhost"
    return looks_like_host and bool(_DOMAIN.fullmatch(text) or _IPV6_DOMAIN.fullmatch(text))


def is_tag(text: str) -> bool:
    """Whether it could be a tag."""
    return bool(_TAG.fullmatch(text))


def parse_tag(text: str) -> str:
    """Check a tag that images are to have, and return it. Raises RequestError."""
    if not _TAG.fullmatch(text):
        raise RequestError(
            f"tag {text!r} is malformed",
            hint="A tag has up to 128 letters, digits, '_', '.' and '-', and starts with a letter, digit or '_'.",
        )
    if text in RESERVED_TAGS:
        raise RequestError(
            f"the tag {text!r} is reserved",
            hint="In it istio-build notes, in each repository, what it did there. Choose another.",
        )
    return text


def redact_url(url: str) -> str:
    """The URL without user, password and query string: what may be printed."""
    without_user = re.sub(r"//[^/?]*@", "//", url)
    # A `?` before the `@` may be part of a password or begin a query: then not even the host can be told from it.
    without_user = re.sub(r"//[^/?]*+\?[^/]*@", "//…?", without_user)
    return without_user.split("?", 1)[0]
