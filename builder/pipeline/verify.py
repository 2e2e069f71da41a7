"""Verifies hubs: from what was asked for to what was found."""

from collections.abc import Sequence
from dataclasses import dataclass

from builder.config.counted_tag import COUNT, is_counted
from builder.config.settings import Job
from builder.config.tag_template import fill_in
from builder.errors import RequestError, VerifyError
from builder.oci.reference import RESERVED_TAGS, Hub, ImageReference, Platform
from builder.pipeline.counted_tags import find_newest
from builder.pipeline.start_programs import DockerStarter, ExtractedStarter
from builder.pipeline.wiring import Adapters
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.verify.compare import Originals
from builder.verify.contents import LayerReader
from builder.verify.expectation import ExpectedImage, Selection, expect_release
from builder.verify.puller import Puller
from builder.verify.start import Starter, with_fallback
from builder.verify.verification import Verification, VerifyContext, Wanted, verify

# How long a registry is waited for with which images are only compared.
_BRIEF_SECONDS = 15.0
NOTHING = "none"
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What of a hub is wanted besides the settings of a job. `compare_with` is a hub, "" for Istio's own, or `none`."""

    references: tuple[str, ...] = ()
    compare_with: str = ""
    deep: bool = False
    run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPlan:
    """What will be looked at; `notes` say what will not, and why."""

    wanted: tuple[Wanted, ...]
    release: str
    notes: tuple[str, ...]


def plan_verification(job: Job, request: VerifyRequest, number: int = 0) -> VerifyPlan:
    """Which references are meant, and what they must be; of counted tags those of this number, which is left open where it is 0.

    Touches no registry. Raises RequestError and RecipeError.
    """
    parsed = tuple(ImageReference.parse(text) for text in request.references)
    # What a listing of a repository's tags has besides its images.
    notes = [
        f"{reference} is no image: istio-build notes there what it did" for reference in parsed if reference.tag in RESERVED_TAGS
    ]
    wanted = [
        Wanted(reference=reference, platforms=job.request.platforms) for reference in parsed if reference.tag not in RESERVED_TAGS
    ]
    if not job.request.hubs and not wanted:
        raise RequestError("nothing to verify", hint="Name images, or a hub and a release: --hub docker.io/me --istio 1.29.0.")
    if not job.request.hubs:
        return VerifyPlan(wanted=tuple(wanted), release="", notes=tuple(notes))
    release = _release(job)
    book = load_recipes(job.recipes, build_bases=job.request.build_bases).at(release)
    values = {"release": str(release), "line": release.line, "n": str(number or COUNT)}
    tags = tuple(fill_in(tag, values) for tag in job.request.tags) or (str(release),)
    selection = Selection(images=job.request.images, variants=job.request.variants, tags=tags)
    expected, unknown = expect_release(book, selection)
    notes += [f"{image}: its tags depend on Istio's source; name them to have them verified" for image in unknown]
    chosen = any(setting.name == "platform" and setting.origin != "default" for setting in job.settings)
    notes += [
        f"{image.image} is not looked for on {', '.join(map(str, image.lacks))}: nobody publishes all of it for Istio {release}"
        for image in ({image.image: image for image in expected}.values() if not chosen else ())
        if image.lacks
    ]
    originals = _originals_hub(request.compare_with or book.release.base_registry)
    for hub in job.request.hubs:
        for image in expected:
            platforms = job.request.platforms if chosen else tuple(p for p in job.request.platforms if p not in image.lacks)
            wanted += _want(hub, image, platforms, originals)
    return VerifyPlan(wanted=tuple(wanted), release=str(release), notes=tuple(notes))


def plan_newest(job: Job, request: VerifyRequest, adapters: Adapters) -> VerifyPlan:
    """The same, with the newest number that a hub has of counted tags. Raises VerifyError where none has any, RegistryError."""
    plan = plan_verification(job, request)
    counted = [wanted.reference for wanted in plan.wanted if is_counted(wanted.reference.tag)]
    if not counted:
        return plan
    with adapters.progress.task("look", f"the number of {counted[0].tag}") as task:
        number = find_newest(counted, adapters.registry)
        task.outcome = str(number or "none")
    if not number:
        raise VerifyError(
            f"{', '.join(map(str, job.request.hubs))} has no tag such as {counted[0].tag}",
            hint="`istio-build push`, with the same project file, makes the first one.",
        )
    return plan_verification(job, request, number)


def run_verification(plan: VerifyPlan, request: VerifyRequest, adapters: Adapters) -> Verification:
    """Look at everything."""
    for note in plan.notes:
        adapters.progress.note(note)
    registry, workspace = adapters.registry, adapters.workspace
    layers = LayerReader(registry, kept=workspace.downloads, remembered=workspace.looks, progress=adapters.progress)
    compares = any(wanted.original for wanted in plan.wanted)
    context = VerifyContext(
        registry=registry,
        layers=layers,
        progress=adapters.progress,
        deep=request.deep,
        originals=Originals(Puller(adapters.brief_registry(_BRIEF_SECONDS))) if compares else None,
        start=_starter(adapters) if request.run else None,
    )
    return verify(plan.wanted, context)


def tell_faults(verification: Verification) -> str:
    """What is wrong, a line each, for the message of an error."""
    faults = verification.faults
    lines = [
        f"  {fault.kind}: {fault.reference} {fault.platform}: {fault.message}".replace(" :", ":") for fault in faults[:_SHOWN]
    ]
    return "\n".join([*lines, f"  … and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else lines)


def _starter(adapters: Adapters) -> Starter:
    docker = DockerStarter(adapters.docker)
    extracted = ExtractedStarter(adapters.registry, adapters.run, adapters.workspace.downloads, adapters.progress)
    return with_fallback(docker, extracted)


def _want(hub: Hub, image: ExpectedImage, platforms: Sequence[Platform], originals: Hub | None) -> list[Wanted]:
    original = originals.repository(image.image).at(image.original) if originals and image.original else None
    return [
        Wanted(
            reference=reference,
            platforms=tuple(platforms),
            expected=image,
            hub=hub,
            original=original if originals != hub else None,
        )
        for reference in image.references(hub)
    ]


def _originals_hub(text: str) -> Hub | None:
    return None if text == NOTHING else Hub.parse(text)


def _release(job: Job) -> IstioRelease:
    """That of --istio, else that which the first tag names."""
    for text in (job.source.release, *job.request.tags[:1]):
        found = IstioRelease.parse(text) if text else None
        if found:
            return found
    if job.source.wishes:
        raise RequestError(
            f"--istio {', '.join(wish.text for wish in job.source.wishes)}: which release should the hub hold?",
            hint="Verifying asks hubs alone, so the release is named exactly: --istio 1.29.0.",
        )
    raise RequestError(
        "which release should the hub hold?",
        hint="Give it as --istio 1.29.0: recipes tell which images, tags and files it has.",
    )
