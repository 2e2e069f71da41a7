"""Looks whether the source tree has what recipes name, before anything is compiled that would then be of no use."""

from collections.abc import Sequence

from builder.errors import SourceError
from builder.plan.lock import ListedDirectory
from builder.recipe.book import RecipeBook
from builder.recipe.schema import BuiltImage, TreeDirectory, TreeFile
from builder.recipe.yaml_file import Location
from builder.resolve.lookups import Lookups


def find_tree_files(recipes: Sequence[BuiltImage], book: RecipeBook, lookups: Lookups) -> tuple[ListedDirectory, ...]:
    """The directories of the tree that these images hold, listed; their files are looked at.

    Raises SourceError with all that is missing, each with the image and the line of its recipe.
    """
    listed: dict[str, ListedDirectory] = {}
    problems: list[str] = []
    entries: list[tuple[str, Location, TreeFile | TreeDirectory]] = []
    for recipe in recipes:
        entries += [(recipe.image, ("files", number, "source"), file) for number, file in enumerate(recipe.files)]
        entries += [(recipe.image, ("directories", number, "source"), entry) for number, entry in enumerate(recipe.directories)]
    for image, location, entry in entries:
        try:
            if isinstance(entry, TreeDirectory):
                listed[entry.source] = lookups.list_directory(entry.source)
            else:
                lookups.check_file(entry.source)
        except SourceError as error:
            problems.append(f"{error.message}: {image} ({book.where(image, location)})")
    if problems:
        several = "the source does not have all that images need:\n  " if len(problems) > 1 else ""
        raise SourceError(
            several + "\n  ".join(problems),
            hint="Is this a complete checkout of an Istio release that the recipe is for? Put back what is missing, or leave "
            "the image out with --image.",
        )
    return tuple(listed[source] for source in sorted(listed))
