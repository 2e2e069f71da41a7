"""What both sides are brought to before they are compared: an image in one variant on one platform, as plain text values."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

NOTHING = ""
# The field that says whether a side has the image at all, and what it says then.
EXISTS, BUILT = "image", "built"


class CouldNotRead(Exception):
    """A file of Istio's tree is not what the reader of such files expects: it must be looked at, never skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoProgram:
    """A program with all that decides its bytes. `flags` and `tags` are sorted, as their order means nothing to Go."""

    main: str
    flags: tuple[str, ...]
    tags: tuple[str, ...]
    ldflags: tuple[str, ...]
    stamps: tuple[tuple[str, str], ...]
    env: tuple[tuple[str, str], ...]

    def facts(self) -> Iterator[tuple[str, str]]:
        """Its values by field."""
        yield "main", self.main
        for flag in self.flags:
            name, _, value = flag.partition("=")
            yield f"flag.{name}", value or "given"
        yield "tags", ",".join(self.tags)
        yield "ldflags", " ".join(self.ldflags)
        yield from ((f"stamp.{name}", value) for name, value in self.stamps)
        yield from ((f"go_env.{name}", value) for name, value in self.env)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePath:
    """A file of Istio's tree."""

    path: str

    def facts(self) -> Iterator[tuple[str, str]]:
        """Its values by field."""
        yield "source", self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file fetched from this URL; `member` is what is taken of it where it is an archive."""

    url: str
    member: str = ""

    def facts(self) -> Iterator[tuple[str, str]]:
        """Its values by field."""
        yield "url", self.url
        yield "member", self.member


@dataclass(frozen=True, slots=True, kw_only=True)
class FileModel:
    """A file of an image."""

    path: str
    mode: str
    origin: GoProgram | TreePath | Download


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModel:
    """An image in one variant on one platform. `base` is its base image's reference as a recipe or Dockerfile writes it."""

    image: str
    variant: str
    platform: str
    tags: tuple[str, ...]
    base: str
    user: str = ""
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    runs: tuple[str, ...] = ()
    files: tuple[FileModel, ...] = ()

    def facts(self) -> dict[str, str]:
        """Every value by the name of its field."""
        registry, name, version = split_reference(self.base)
        facts = {
            EXISTS: BUILT,
            "tags": " ".join(sorted(self.tags)),
            "base.registry": registry,
            "base.name": name,
            "base.version": version,
            "user": self.user,
            "workdir": self.workdir,
            "entrypoint": _words(self.entrypoint),
            "command": _words(self.command),
            "run": " && ".join(self.runs),
        }
        facts |= {f"env.{key}": value for key, value in self.env}
        facts |= {f"label.{key}": value for key, value in self.labels}
        for file in self.files:
            facts[f"file.{file.path}.mode"] = file.mode
            facts |= {f"file.{file.path}.{key}": value for key, value in file.origin.facts()}
        return {key: value for key, value in facts.items() if value != NOTHING}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Difference:
    """One value that is not the same on both sides; `platform` is empty where it is so on all of them."""

    release: str
    image: str
    variant: str
    field: str
    platform: str = ""
    theirs: str = ""
    ours: str = ""
    reason: str = dataclasses.field(default="", compare=False)

    @property
    def what(self) -> str:
        """`proxyv2-distroless` or `proxyv2`."""
        return f"{self.image}-{self.variant}" if self.variant else self.image


def compare(release: str, theirs: Sequence[ImageModel], ours: Sequence[ImageModel]) -> tuple[Difference, ...]:
    """Every difference between two sets of images, images that one side lacks among them."""
    left, right = _by_key(theirs), _by_key(ours)
    differences: list[Difference] = []
    for image in sorted({key[0] for key in (*left, *right)}):
        variants = {side: {key[1] for key in models if key[0] == image} for side, models in (("theirs", left), ("ours", right))}
        if not variants["theirs"] or not variants["ours"]:
            differences.append(_lacking(release, image, "", variants["theirs"]))
            continue
        for variant in sorted(variants["theirs"] ^ variants["ours"]):
            differences.append(_lacking(release, image, variant, variants["theirs"] & {variant}))
        for variant in sorted(variants["theirs"] & variants["ours"]):
            differences += _compare_variant(release, image, variant, left, right)
    return tuple(differences)


def split_reference(reference: str) -> tuple[str, str, str]:
    """`gcr.io/istio-release/base:1.29` as registry with path, name, and tag or digest."""
    rest, at, digest = reference.partition("@")
    head, _, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    return head, name, digest if at else tag


_Models = Mapping[tuple[str, str, str], ImageModel]


def _by_key(models: Sequence[ImageModel]) -> _Models:
    return {(model.image, model.variant, model.platform): model for model in models}


def _lacking(release: str, image: str, variant: str, theirs: set[str]) -> Difference:
    left, right = (BUILT, NOTHING) if theirs else (NOTHING, BUILT)
    return Difference(release=release, image=image, variant=variant, field=EXISTS, theirs=left, ours=right)


def _compare_variant(release: str, image: str, variant: str, left: _Models, right: _Models) -> Iterator[Difference]:
    platforms = {side: {key[2] for key in models if key[:2] == (image, variant)} for side, models in ((0, left), (1, right))}
    if platforms[0] != platforms[1]:
        texts = [" ".join(sorted(platforms[side])) for side in (0, 1)]
        yield Difference(release=release, image=image, variant=variant, field="platforms", theirs=texts[0], ours=texts[1])
    shared = sorted(platforms[0] & platforms[1])
    found: dict[tuple[str, str, str], list[str]] = {}
    for platform in shared:
        facts = [models[image, variant, platform].facts() for models in (left, right)]
        for name in sorted({*facts[0], *facts[1]}):
            values = (facts[0].get(name, NOTHING), facts[1].get(name, NOTHING))
            if values[0] != values[1]:
                found.setdefault((name, *values), []).append(platform)
    for (name, ours_not, not_theirs), on in found.items():
        for platform in [""] if on == shared else on:
            yield Difference(
                release=release, image=image, variant=variant, platform=platform, field=name, theirs=ours_not, ours=not_theirs
            )


def _words(words: tuple[str, ...]) -> str:
    return " ".join(word if word and " " not in word else repr(word) for word in words)
