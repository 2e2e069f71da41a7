"""A request, the facts of a source tree, a lock, and the plan of them: frozen values to test with."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from builder.config.request import Request
from builder.oci.reference import Hub, ImageReference, Platform
from builder.plan.lock import (
    ListedDirectory,
    Lock,
    LockedBase,
    LockedBasePlatform,
    LockedGo,
    LockedMirror,
    SourceFacts,
    UrlArtifact,
)
from builder.plan.model import ImagePlan, Plan
from builder.plan.planner import make_plan
from builder.ports import TreeState
from builder.recipe.book import RecipeBook, Recipes
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.recipe.schema import BuiltImage, Mirror
from tests.samples.images import AMD64, ARM64, COMMITTED_AT, base_layers, make_config, make_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


PROXY_SHA = "fedcba9876543210fedcba9876543210fedcba98"


RELEASE = IstioRelease(1, 29, 0)


def load_book(*extra: Path, release: IstioRelease = RELEASE) -> RecipeBook:
    """The recipes as they hold for a release, 1.29.0 by default."""
    return (load_recipes(extra) if extra else built_in()).at(release)


@cache
def built_in() -> Recipes:
    """The recipes that are shipped, read and checked once for all tests."""
    return load_recipes()


def make_state(**changes: Any) -> TreeState:  # noqa: ANN401 - fields of the value
    """A clean checkout of the release 1.29.0."""
    state = TreeState(
        commit=COMMIT,
        committed_at=COMMITTED_AT,
        content="89abcdef0123456789abcdef0123456789abcdef",
        tag="1.29.0",
        description="1.29.0",
        dirty=False,
        modified=False,
    )
    return replace(state, **changes)


def make_source(state: TreeState | None = None, **changes: Any) -> SourceFacts:  # noqa: ANN401 - fields of the value
    """What Istio's tree says of itself at 1.29.0."""
    facts = SourceFacts(
        state=state or make_state(),
        version="1.29",
        release=RELEASE,
        base_version="1.29-2026-02-01T19-01-00",
        go_directive="1.25.0",
        dependencies=(("PROXY_REPO_SHA", PROXY_SHA), ("ZTUNNEL_REPO_SHA", "a" * 40)),
    )
    return replace(facts, **changes)


def make_base(name: str, platforms: tuple[Platform, ...] = (AMD64, ARM64), registry: str = "docker.io/istio") -> LockedBase:
    """A base image; its manifests' digests depend on its name and the platform alone."""
    reference = ImageReference.parse(f"{registry}/{name}:1.29-2026-02-01T19-01-00")
    return LockedBase(
        name=name,
        reference=reference.pinned(make_digest(f"index of {name}")),
        platforms=tuple(
            LockedBasePlatform(
                platform=platform,
                manifest=make_digest(f"{name} {platform}"),
                config=make_config(platform),
                layers=base_layers(),
            )
            for platform in platforms
        ),
    )


def make_artifact(platform: Platform) -> UrlArtifact:
    """Istio's Envoy for this platform."""
    suffix = "" if platform == AMD64 else f"-{platform.architecture}"
    return UrlArtifact(
        name="envoy",
        platform=platform,
        url=f"https://storage.googleapis.com/istio-build/proxy/envoy-alpha-{PROXY_SHA}{suffix}.tar.gz",
        sha256=make_digest(f"envoy {platform}").hex,
        member="usr/local/bin/envoy",
    )


def make_lock(source: SourceFacts | None = None, **changes: Any) -> Lock:  # noqa: ANN401 - fields of the value
    """All that was looked up for the built-in images on both platforms."""
    lock = Lock(
        source=source or make_source(),
        go=LockedGo(version="1.26.0", reason="this machine's: --go machine"),
        bases=(make_base("base"), make_base("distroless"), make_base("iptables")),
        artifacts=(make_artifact(AMD64), make_artifact(ARM64)),
    )
    return replace(lock, **changes)


def lock_for(book: RecipeBook, source: SourceFacts | None = None) -> Lock:
    """All that was looked up for every image of a release on both platforms."""
    found = source or make_source(
        make_state(tag=str(book.istio), description=str(book.istio)),
        release=book.istio,
        pins=(("proxyv2", str(make_digest("proxy"))), ("install-cni", str(make_digest("cni")))),
    )
    mirrors = [recipe.image for recipe in book.images if isinstance(recipe, Mirror)]
    return Lock(
        source=found,
        go=LockedGo(version="1.99.0"),
        bases=tuple(make_base(name) for name in book.release.bases),
        artifacts=tuple(
            UrlArtifact(
                name=name,
                platform=platform,
                url=f"https://a.example/{name}",
                sha256=make_digest(f"{name} {platform}").hex,
                member="",
            )
            for name in book.release.artifacts
            for platform in (AMD64, ARM64)
        ),
        mirrors=tuple(
            LockedMirror(
                image=name,
                source=ImageReference.parse(f"docker.io/istio/{name}:1").pinned(make_digest(name)),
                platforms=(AMD64, ARM64),
            )
            for name in mirrors
        ),
        directories=(ListedDirectory(source="manifests", files=(("a.yaml", "0644"), ("b/run.sh", "0755"))),),
    )


def make_request(hub: str = "registry.corp.example/istio", **changes: Any) -> Request:  # noqa: ANN401 - fields of the value
    """All images for both platforms, under the version of the source."""
    return replace(Request(hubs=(Hub.parse(hub),), tags=(), platforms=(AMD64, ARM64)), **changes)


def make_sample_plan(
    request: Request | None = None,
    book: RecipeBook | None = None,
    lock: Lock | None = None,
    **changes: Any,  # noqa: ANN401
) -> Plan:
    """The plan for `make_request(**changes)`, the built-in recipes and `make_lock()`."""
    return make_plan(request or make_request(**changes), book or load_book(), lock or make_lock())


def image_of(plan: Plan, key: str) -> ImagePlan:
    """The image of a plan with this key, such as `pilot-debug`."""
    return next(image for image in plan.images if image.key == key)


def built_images(book: RecipeBook) -> dict[str, BuiltImage]:
    """The recipes of images that stand on a base image, by name."""
    return {recipe.image: recipe for recipe in book.images if isinstance(recipe, BuiltImage)}


def change_image(book: RecipeBook, image: str, **changes: Any) -> RecipeBook:  # noqa: ANN401 - fields of the recipe
    """The book with other values in one image's recipe."""
    images = tuple(recipe.model_copy(update=changes) if recipe.image == image else recipe for recipe in book.images)
    return replace(book, images=images)


def change_go(book: RecipeBook, **changes: Any) -> RecipeBook:  # noqa: ANN401 - fields of the recipe
    """The book with other values in release.yaml's `go`."""
    go = book.release.go.model_copy(update=changes)
    return replace(book, release=book.release.model_copy(update={"go": go}))


def change_template(book: RecipeBook, name: str, addition: str) -> RecipeBook:
    """The book with a line more in one template."""
    templates = tuple((key, f"{text}{addition}\n" if key == name else text) for key, text in book.templates)
    return replace(book, templates=templates)
