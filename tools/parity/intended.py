"""The differences that are meant: read from intended.yaml, each with its reason, and put to the differences found."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field, field_validator

from builder.recipe.istio_release import IstioRelease, ReleaseRange
from builder.recipe.yaml_file import Schema, read_yaml, validate
from tools.parity.model import Difference

INTENDED_FILE = Path(__file__).with_name("intended.yaml")


class Intended(Schema):
    """One kind of difference that is meant. All patterns are regular expressions for the whole of a value."""

    field: str = Field(description="Pattern of the field.")
    image: str = Field(default=".*", description="Pattern of the image's name.")
    variant: str = Field(default=".*", description="Pattern of the variant; empty where the difference is not of one.")
    releases: str = Field(default="1.10+", description="Releases, as recipes write them.")
    theirs: str = Field(default="", description="Pattern of Istio's value; empty where it has none.")
    ours: str = Field(default="", description="Pattern of our value; empty where we have none.")
    reason: str = Field(min_length=10, description="Why it is meant.")

    @field_validator("field", "image", "variant", "theirs", "ours")
    @classmethod
    def _check_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no pattern: {error}") from error
        return value

    def covers(self, difference: Difference) -> bool:
        """Whether this is the difference that is meant."""
        release = IstioRelease.parse(difference.release)
        return (
            (release is None or ReleaseRange.parse(self.releases).covers(release))
            and bool(re.fullmatch(self.field, difference.field))
            and bool(re.fullmatch(self.image, difference.image))
            and bool(re.fullmatch(self.variant, difference.variant))
            and bool(re.fullmatch(self.theirs, difference.theirs))
            and bool(re.fullmatch(self.ours, difference.ours))
        )


class IntendedFile(Schema):
    """`plans` are differences of plans (`python -m tools.parity`), `images` of built images (`python -m tools.parity.images`)."""

    plans: tuple[Intended, ...] = ()
    images: tuple[Intended, ...] = ()


def read_intended(path: Path = INTENDED_FILE) -> IntendedFile:
    """The intended differences. Raises RecipeError with file and line."""
    return validate(IntendedFile, read_yaml(path))


def excuse(differences: Sequence[Difference], intended: Sequence[Intended]) -> tuple[tuple[Difference, ...], frozenset[int]]:
    """The differences, those that are meant with their reason, and the places of the entries that met any."""
    met: set[int] = set()
    result = []
    for difference in differences:
        fitting = [number for number, entry in enumerate(intended) if entry.covers(difference)]
        met.update(fitting)
        result.append(replace(difference, reason=intended[fitting[0]].reason) if fitting else difference)
    return tuple(result), frozenset(met)
