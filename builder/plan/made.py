"""What the parts of one release that are built apart must have in common, by the names in which a difference is told. Pure."""

from collections.abc import Sequence

from builder import __version__
from builder.config.request import Request
from builder.oci.layer_format import FORMATS
from builder.plan.lock import ImageArtifact, Lock
from builder.plan.model import FetchedFile, ImagePlan, MirrorPlan
from builder.recipe.book import RecipeBook


def what_it_is_made_with(
    request: Request, book: RecipeBook, lock: Lock, images: Sequence[ImagePlan | MirrorPlan]
) -> tuple[tuple[str, str], ...]:
    """The settings and inputs of a build, as pairs. No path or host of a machine is among them: equal content is equal.

    What only some images or platforms need (a base, an Envoy) is there where one of these images needs it.
    """
    source, go = lock.source, request.go
    common = {
        "istio-build": __version__,
        "commit": f"{source.state.commit}{'-dirty' if source.state.dirty else ''}",
        "source tree": source.content,
        **({"patches": " ".join(map(str, source.patches))} if source.patches else {}),
        "recipes": book.digest.text,
        "Go": lock.go.version,
        "image to compile in": str(lock.go.image.digest) if lock.go.image else "",
        "--go-flags": " ".join(go.flags),
        "--go-env": " ".join(f"{name}={value}" for name, value in sorted(go.env)),
        "--debug": str(go.debug).lower(),
        "--compression": FORMATS[request.compression],
        "hubs": " ".join(sorted(map(str, request.hubs))),
        "tags": " ".join(sorted(request.tags)),
    }
    return tuple(sorted((common | _inputs_of(images)).items()))


def _inputs_of(images: Sequence[ImagePlan | MirrorPlan]) -> dict[str, str]:
    found = {}
    for image in images:
        if isinstance(image, MirrorPlan):
            found[f"mirror {image.image}"] = str(image.digest)
            continue
        if image.base:
            found[f"base {image.base.name}"] = str(image.base.digest)
        for file in (file for platform in image.platforms for file in platform.files):
            if isinstance(file.origin, FetchedFile):
                artifact = file.origin.artifact
                kind = "manifest" if isinstance(artifact, ImageArtifact) else "sha256"
                found[f"{artifact.name} {artifact.member} {artifact.platform}"] = f"{kind} {artifact.sha256}"
    return found
