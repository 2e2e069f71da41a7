"""What hubs remember, for people (tables) and for machines (JSON)."""

from collections.abc import Sequence
from typing import Any

from builder.cli.screen import ENDLESS, Screen
from builder.oci.reference import Digest, ImageReference, Repository
from builder.pipeline.history import Past
from builder.publish.history import HistoryImage
from builder.publish.timeline import PastRelease, Way
from builder.runtime.text import printable

_ID = 12


def history_table(past: Past, tags: Sequence[str] = (), screen: Screen = ENDLESS) -> str:
    """One release after the other, newest first, each with its images."""
    chosen = _chosen(past, tags)
    if not chosen:
        return "No release is remembered."
    blocks = []
    for release in chosen:
        happening = release.happening
        made = " ".join(filter(None, (release.version, f"commit {release.commit[:_ID]}" if release.commit else "")))
        tool = (
            f"istio-build {happening.builder} on {happening.host}"
            if happening.by != "found"
            else "not by istio-build, or unknown"
        )
        head = f"{happening.release[:_ID]}  {happening.time}  {happening.by}  {made or 'of unknown source'}  ({tool})"
        rows = [
            (str(where), image.digest.short, _tags(past, where, image), _state(past, where, image))
            for where, image in release.images
        ]
        missing = [f"  {repository} does not remember it" for repository in _silent(past, release)]
        lines = (*screen.fold(printable(head)), *screen.table(rows, indent="  "), *missing)
        blocks.append("\n".join(map(printable, lines)))
    return "\n\n".join(blocks)


def history_json(past: Past, tags: Sequence[str] = ()) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "releases": [
            {
                "release": release.id,
                "time": release.happening.time,
                "by": release.happening.by,
                "host": release.happening.host,
                "builder_version": release.happening.builder,
                "version": release.version,
                "commit": release.commit,
                "images": [
                    {
                        "image": image.key,
                        "repository": str(where),
                        "digest": str(image.digest),
                        "inputs": image.inputs,
                        "tags": list(image.tags),
                        "tags_here_now": _here(past, where, image),
                        "present": (where, image.digest) not in past.gone,
                    }
                    for where, image in release.images
                ],
                "not_remembered_by": list(map(str, _silent(past, release))),
            }
            for release in _chosen(past, tags)
        ],
        "tags": {str(reference): str(digest) if digest else None for reference, digest in sorted(past.now.items())},
        "notes": list(past.timeline.notes),
    }


def rollback_table(way: Way, screen: Screen = ENDLESS) -> str:
    """Which tag goes from where to where."""
    rows = [("TAG", "IS", "GOES BACK TO")]
    rows += [(str(reference), _short(now), digest.short) for reference, now, digest in way.moves]
    head = f"back to release {way.to.id[:_ID]} of {way.to.happening.time or 'an unknown time'}, {way.to.happening.by}:"
    stay = [f"{reference} stays: that release did not have it." for reference in way.stay]
    lines = [*screen.fold(printable(head)), *screen.table(rows), *(part for line in stay for part in screen.fold(line))]
    return "\n".join(map(printable, lines))


def rollback_json(way: Way) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "release": way.to.id,
        "moves": [
            {"reference": str(reference), "from": str(now) if now else None, "to": str(digest)}
            for reference, now, digest in way.moves
        ],
        "stay": list(map(str, way.stay)),
    }


def _chosen(past: Past, tags: Sequence[str]) -> list[PastRelease]:
    return [release for release in past.timeline.releases if not tags or past.timeline.of_tags(release.references, tags)]


def _silent(past: Past, release: PastRelease) -> list[Repository]:
    meant = past.timeline.images
    return [repository for repository in release.forgotten if not meant or repository.path.rpartition("/")[2] in meant]


def _tags(past: Past, where: Repository, image: HistoryImage) -> str:
    here = _here(past, where, image)
    return ", ".join(f"{tag} (now)" if tag in here else tag for tag in image.tags)


def _here(past: Past, where: Repository, image: HistoryImage) -> list[str]:
    """Those of its tags that are at it now."""
    return [tag for tag in image.tags if past.now.get(ImageReference(where, tag=tag)) == image.digest]


def _state(past: Past, where: Repository, image: HistoryImage) -> str:
    return "gone" if (where, image.digest) in past.gone else ""


def _short(digest: Digest | None) -> str:
    return digest.short if digest else "gone"
