"""Splits a plan into parts for several machines, and takes one of them. Pure: everybody who has the plan gets the same parts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from builder.errors import RequestError
from builder.oci.reference import Platform
from builder.plan.model import CompiledFile, ImagePlan, MirrorPlan, Plan, Shard, Unit
from builder.plan.noted import seal

# What compiling costs, for parts of about the same length: the packages that all programs of a platform share are compiled
# once in each part, whatever programs it has, and are most of it; linking one program more is little.
_SHARED_PACKAGES = 6
_PROGRAM = 1
_IMAGE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An image in all its variants on one platform, which hold the same files, or a mirror: never split.

    `programs` are what has to be compiled for it, each with its step.
    """

    image: str
    platform: Platform | None
    units: tuple[Unit, ...]
    programs: frozenset[tuple[str, str]]


def parse_shard(text: str) -> tuple[int, int]:
    """`2/4`: the second of four. Raises RequestError."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text.strip())
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise RequestError(f"--shard {text}: there is no such part", hint="Write K/N, the K-th of N: 1/4, 2/4, 3/4, 4/4.")
    return number, count


def split_plan(plan: Plan, count: int) -> tuple[tuple[Piece, ...], ...]:
    """The plan in this many parts, none of them empty, by platform as far as they go, then by image.

    They are of about the same cost where `go build` is most of it. Raises RequestError where there are not so many pieces.
    """
    pieces = _pieces(plan)
    built = [piece for piece in pieces if piece.platform]
    if not 1 <= count <= len(pieces):
        raise RequestError(
            f"{count} parts: there is nothing to do for some of them",
            hint=f"These images on these platforms make up to {len(pieces)}.",
        )
    bins = _by_platform(built, sorted(plan.platforms), min(count, len(built)))
    bins += [[] for _ in range(count - len(bins))]
    for mirror in (piece for piece in pieces if not piece.platform):
        _put(mirror, bins)
    return tuple(tuple(content) for content in bins)


def take_shard(plan: Plan, number: int, count: int) -> Plan:
    """The plan of the `number`-th of `count` parts (from 1 on), which knows the whole. Raises as `split_plan` does."""
    parts = split_plan(plan, count)
    mine = {(piece.image, piece.platform) for piece in parts[number - 1]}
    images = tuple(image for image in (_on_platforms(image, mine) for image in plan.images) if image)
    files = [file for image in images for platform in image.platforms for file in platform.files]
    programs = {(file.origin.step, file.origin.program) for file in files if isinstance(file.origin, CompiledFile)}
    compiles = []
    for step in plan.compiles:
        packages = tuple(package for program, package in step.mains if (step.key, program) in programs)
        if packages:
            compiles.append(replace(step, command=replace(step.command, packages=packages)))
    origins = [file.origin for file in files]
    whole = tuple(tuple(sorted(unit for piece in part for unit in piece.units)) for part in parts)
    return replace(
        plan,
        platforms=tuple(
            name for name in plan.platforms if any(name == on.platform for image in images for on in image.platforms)
        ),
        compiles=tuple(compiles),
        artifacts=tuple(
            entry for entry in plan.artifacts if any(entry == getattr(origin, "artifact", None) for origin in origins)
        ),
        images=images,
        mirrors=tuple(mirror for mirror in plan.mirrors if (mirror.image, None) in mine),
        shard=Shard(number=number, whole=whole),
    )


def _on_platforms(image: ImagePlan, mine: set[tuple[str, Platform | None]]) -> ImagePlan | None:
    kept = tuple(platform for platform in image.platforms if (image.image, platform.platform) in mine)
    return seal(replace(image, platforms=kept)) if kept else None


def _pieces(plan: Plan) -> list[Piece]:
    """In an order that does not depend on that in which images and platforms are asked for."""
    images = sorted({image.image for image in plan.images})
    built = [_piece(plan, image, platform) for platform in sorted(plan.platforms) for image in images]
    return [*built, *(_mirror_piece(mirror) for mirror in sorted(plan.mirrors, key=lambda mirror: mirror.image))]


def _piece(plan: Plan, image: str, platform: Platform) -> Piece:
    variants = [variant for variant in plan.images if variant.image == image]
    files = [file for variant in variants for on in variant.platforms if on.platform == platform for file in on.files]
    return Piece(
        image=image,
        platform=platform,
        units=tuple(sorted(Unit(image, variant.variant, str(platform)) for variant in variants)),
        programs=frozenset((file.origin.step, file.origin.program) for file in files if isinstance(file.origin, CompiledFile)),
    )


def _mirror_piece(mirror: MirrorPlan) -> Piece:
    return Piece(image=mirror.image, platform=None, units=(Unit(mirror.image, "", ""),), programs=frozenset())


def _by_platform(built: Sequence[Piece], platforms: Sequence[Platform], count: int) -> list[list[Piece]]:
    """Each part has one platform where there are enough parts, and several parts share a platform where there are more."""
    of = {platform: [piece for piece in built if piece.platform == platform] for platform in platforms if built}
    bins: list[list[Piece]] = []
    if count < len(of):
        bins = [[] for _ in range(count)]
        for pieces in sorted(of.values(), key=_cost, reverse=True):
            min(bins, key=_cost).extend(pieces)
        return bins
    shares = dict.fromkeys(of, 1) if of else {}
    for _ in range(count - len(of)):
        open_ones = [platform for platform in of if shares[platform] < len(of[platform])]
        shares[max(open_ones, key=lambda platform: _cost(of[platform]) / shares[platform])] += 1
    for platform, share in shares.items():
        own: list[list[Piece]] = [[] for _ in range(share)]
        for piece in sorted(of[platform], key=lambda piece: _cost([piece]), reverse=True):
            _put(piece, own)
        bins += own
    return bins


def _put(piece: Piece, bins: list[list[Piece]]) -> None:
    """Where it makes the least long part; an empty one always is shorter than a fuller one with the piece added."""
    min(bins, key=lambda content: _cost([*content, piece])).append(piece)


def _cost(pieces: Sequence[Piece]) -> int:
    programs = frozenset(program for piece in pieces for program in piece.programs)
    shared = len({step for step, _ in programs})
    return shared * _SHARED_PACKAGES + len(programs) * _PROGRAM + sum(len(piece.units) for piece in pieces) * _IMAGE
