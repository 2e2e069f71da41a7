"""What a run would need, as values: what was asked for, and what is known of its source without fetching it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.config.request import Request
from builder.config.settings import Job
from builder.oci.reference import Hub, Platform, Repository
from builder.plan.lock import SourceFacts
from builder.recipe.book import RecipeBook
from builder.recipe.schema import BuiltImage, ImageRecipe, Mirror
from builder.resolve.held import LockInUse
from builder.resolve.resolver import used_names

_RUN = re.compile(r"^[ \t]*RUN\b", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A job before it is begun. `chosen` are the recipes of its images with their variants.

    `source` is None where the source is not on this machine; `trouble` then says why, as far as it is one. `book` and
    `chosen` are for the release that is asked for, for the newest where none is. `starts`: what is built is to be started,
    too (`verify --run`). `output` is where layouts would go.
    """

    job: Job
    book: RecipeBook
    chosen: tuple[tuple[ImageRecipe, tuple[str, ...]], ...]
    cache: Path
    output: Path
    source: SourceFacts | None = None
    tree: Path | None = None
    trouble: str = ""
    trouble_hint: str = ""
    lock: LockInUse | None = None
    starts: bool = False

    @property
    def request(self) -> Request:
        """What was asked for."""
        return self.job.request

    @property
    def repositories(self) -> tuple[tuple[Hub, tuple[Repository, ...]], ...]:
        """Where images would go, by hub."""
        names = [recipe.image for recipe, _ in self.chosen]
        return tuple((hub, tuple(hub.repository(name) for name in names)) for hub in self.request.hubs)

    @property
    def compiles(self) -> bool:
        """Whether any program is compiled."""
        return any(isinstance(recipe, BuiltImage) and recipe.binaries for recipe, _ in self.chosen)

    @property
    def bases(self) -> Sequence[str]:
        """The names of the base images that are built upon."""
        return used_names(self.chosen)[0]

    @property
    def artifacts(self) -> tuple[tuple[str, Platform], ...]:
        """What others have built, such as Envoy, by platform."""
        return tuple((name, platform) for name in used_names(self.chosen)[1] for platform in self.request.platforms)

    @property
    def mirrors(self) -> tuple[Mirror, ...]:
        """The images that are copied."""
        return tuple(recipe for recipe, _ in self.chosen if isinstance(recipe, Mirror))

    @property
    def running_template(self) -> str:
        """The first template that runs something in its image, "" where none does."""
        templates = dict(self.book.templates)
        used = (recipe.template for recipe, _ in self.chosen if isinstance(recipe, BuiltImage))
        return next((name for name in used if _RUN.search(templates.get(name, ""))), "")

    @property
    def needs_docker(self) -> str:
        """What of the job only Docker can do, "" where that is nothing."""
        if self.request.go.image:
            return "--compile-in"
        return f"the template {self.running_template}, which has a RUN," if self.running_template else ""
