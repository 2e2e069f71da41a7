"""What a request asks of the world, as text and without asking: a lock holds it beside what was found.

Where the text is another, what was found for it no longer counts. No text holds a hub, a path of this machine or a credential.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.config.request import GO_WISHES, GoRequest, Request
from builder.oci.reference import ImageReference, Platform
from builder.plan.lock import SourceFacts
from builder.recipe.book import RecipeBook
from builder.recipe.schema import Mirror, RootfsImage
from builder.resolve.artifacts import ArtifactFinder
from builder.resolve.bases import base_reference
from builder.resolve.mirrors import mirror_reference
from builder.resolve.packages import packages_asked


def go_asked(go: GoRequest, source: SourceFacts) -> str:
    """Which Go: that of an image, a version, or what go.mod says."""
    if go.image:
        return f"image {ImageReference.parse(go.image)}"
    return f"{go.version}: go.mod says {source.go_directive}" if go.version == GO_WISHES[0] else go.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The texts of one request. `values` are those of expressions in recipes."""

    request: Request
    book: RecipeBook
    source: SourceFacts
    values: Mapping[str, Any]
    finder: ArtifactFinder

    def go(self) -> str:
        """As `go_asked`."""
        return go_asked(self.request.go, self.source)

    def base(self, name: str) -> ImageReference:
        """The image that is asked for as this base."""
        return base_reference(name, self.request, self.book, self.values)

    def artifact(self, name: str, platform: Platform) -> tuple[str, ...]:
        """The places where it may be."""
        return self.finder.places(name, platform)

    def mirror(self, image: str) -> ImageReference:
        """The image that is asked for to be copied."""
        recipe = self.book.image(image)
        assert isinstance(recipe, Mirror)
        return mirror_reference(recipe, self.request, self.book, self.values)

    def packages(self, image: str) -> tuple[str, ...]:
        """The packages that the image is made of, and where they come from."""
        recipe = self.book.image(image)
        assert isinstance(recipe, RootfsImage)
        return packages_asked(recipe, self.request, self.book)
