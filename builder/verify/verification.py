"""Verifies references: looks at each as a puller does, reads what is not known yet, and collects what is wrong."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

from builder.errors import CheckError, RegistryError
from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Hub, ImageReference, Platform, Repository
from builder.ports import BlobFinder
from builder.runtime.once import Once
from builder.runtime.progress import Progress
from builder.runtime.text import counted
from builder.verify.compare import Comparison, Originals, compare_hubs
from builder.verify.contents import LayerContents, LayerReader
from builder.verify.expectation import ExpectedImage
from builder.verify.files import stack
from builder.verify.findings import Finding
from builder.verify.inspect import (
    PlatformContents,
    ProgramFacts,
    describe_programs,
    inspect_machine,
    inspect_recipe,
    inspect_twins,
)
from builder.verify.look import Looker, PlatformLook
from builder.verify.puller import Puller
from builder.verify.start import Started, Starter, start_platform

_PARALLEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A reference to be verified, for these platforms, and what is expected of it: nothing, where no recipe knows it.

    `original` is what it is compared with, if anything.
    """

    reference: ImageReference
    platforms: tuple[Platform, ...]
    expected: ExpectedImage | None = None
    hub: Hub | None = None
    original: ImageReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedImage:
    """One image: all its references that were asked for and are the same, what it has, what is wrong with it.

    `digest` is "" where there is none.
    """

    wanted: Wanted
    references: tuple[ImageReference, ...]
    digest: str
    platforms: tuple[PlatformLook, ...]
    findings: tuple[Finding, ...]
    programs: tuple[ProgramFacts, ...] = ()
    started: tuple[Started, ...] = ()
    comparison: Comparison | None = None

    def findings_on(self, platform: Platform) -> tuple[Finding, ...]:
        """What is wrong with one platform, or with all of the image."""
        return tuple(finding for finding in self.findings if finding.platform in ("", str(platform)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All that was verified; `failures` are of registries that did not let us look."""

    images: tuple[VerifiedImage, ...]
    failures: tuple[RegistryError, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was found."""
        return tuple(chain.from_iterable(image.findings for image in self.images))

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What makes the hub wrong; what could not be read is none of it."""
        return tuple(finding for finding in self.findings if finding.severity == "error" and finding.kind != "unreadable")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyContext:
    """What verifying needs of the world. `originals` and `start` are None where that is not wanted."""

    registry: BlobFinder
    layers: LayerReader
    progress: Progress
    deep: bool = False
    originals: Originals | None = None
    start: Starter | None = None


def verify(wanted: Sequence[Wanted], context: VerifyContext) -> Verification:
    """Look at everything. What a registry does not let us see is a finding, and among the failures."""
    return _Verifier(context).verify(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Where a reference leads: to a manifest, nowhere (None), or to an error of its registry."""

    manifest: Manifest | None = None
    error: RegistryError | None = None


class _Verifier:
    def __init__(self, context: VerifyContext) -> None:
        self._context = context
        self._puller = Puller(context.registry)
        self._layers: Once[tuple[Repository, Descriptor], LayerContents | Exception] = Once(self._read_layer)
        self._known: Once[Descriptor, LayerContents | Exception] = Once(lambda layer: self._layers((self._places[layer], layer)))
        self._places: dict[Descriptor, Repository] = {}
        self._silent: dict[str, RegistryError] = {}
        self._failures: list[RegistryError] = []
        self._lock = threading.Lock()

    def verify(self, wanted: Sequence[Wanted]) -> Verification:
        with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
            found = tuple(pool.map(self._find, wanted))
            images = tuple(pool.map(lambda group: self._verify_image(*group), _group(wanted, found)))
        return Verification(images=_compare_with_each_other(images), failures=tuple(self._failures))

    def _find(self, wanted: Wanted) -> _Found:
        host = wanted.reference.repository.registry
        if host in self._silent:
            return _Found(error=self._silent[host])
        try:
            return _Found(manifest=self._puller.manifest(wanted.reference))
        except RegistryError as error:
            if error.status == 0 and not error.damaged:
                # It does not answer: nor will it for the next tag, and each wait is a long one.
                self._silent[host] = error
            return _Found(error=error)

    def _verify_image(self, group: Sequence[Wanted], found: _Found) -> VerifiedImage:
        first = group[0]
        references = tuple(wanted.reference for wanted in group)
        empty = VerifiedImage(wanted=first, references=references, digest="", platforms=(), findings=())
        with self._context.progress.task("verify", str(first.reference)) as task:
            try:
                if found.error:
                    raise found.error
                if found.manifest is None:
                    return replace(empty, findings=(_missing(first, references[1:]),))
                image = self._look(replace(empty, digest=str(found.manifest.digest)), found.manifest)
            except RegistryError as error:
                return replace(empty, findings=(self._unreadable(first, error),))
            task.outcome = counted(len(image.findings), "finding") if image.findings else "ok"
            return image

    def _unreadable(self, wanted: Wanted, error: RegistryError) -> Finding:
        if error.damaged:
            return Finding(kind="corrupt-manifest", reference=wanted.reference, message=error.message)
        optional = bool(wanted.expected and wanted.expected.optional)
        # Docker Hub refuses what it does not have, as if it were somebody's secret.
        if optional and error.status in (401, 403, 404):
            return Finding(kind="missing-image", reference=wanted.reference, message=error.message)
        with self._lock:
            self._failures.append(error)
        return Finding(kind="unreadable", reference=wanted.reference, message=error.message)

    def _look(self, image: VerifiedImage, root: Manifest) -> VerifiedImage:
        wanted = image.wanted
        look = Looker(wanted.reference, root, self._puller).look(wanted.platforms)
        findings = list(look.findings)
        contents = [self._read(platform, wanted.reference, findings) for platform in look.platforms]
        for each in contents:
            findings += inspect_machine(wanted.reference, each)
            if wanted.expected and wanted.hub:
                findings += inspect_recipe(wanted.reference, each, wanted.expected, wanted.hub)
        findings += inspect_twins(wanted.reference, contents)
        started, failed = self._start(wanted, look.platforms)
        comparison = None
        if self._context.originals and wanted.original:
            comparison = self._context.originals.compare(wanted.reference, look.platforms, image.digest, wanted.original)
        programs = [fact for each in contents for fact in describe_programs(each, wanted.expected, wanted.hub)]
        return replace(
            image,
            platforms=look.platforms,
            findings=(*findings, *failed),
            programs=tuple(programs),
            started=started,
            comparison=comparison,
        )

    def _start(self, wanted: Wanted, platforms: Sequence[PlatformLook]) -> tuple[tuple[Started, ...], tuple[Finding, ...]]:
        if not self._context.start:
            return (), ()
        # A mirrored image is of another project, with versions of its own.
        versions = wanted.expected.versions if wanted.expected else ()
        ended = [entry for look in platforms for entry in start_platform(wanted.reference, look, self._context.start, versions)]
        return (
            tuple(entry for entry in ended if isinstance(entry, Started)),
            tuple(entry for entry in ended if isinstance(entry, Finding)),
        )

    def _read(self, look: PlatformLook, reference: ImageReference, findings: list[Finding]) -> PlatformContents:
        """What one platform's layers hold; those that cannot be read are told."""
        read: list[LayerContents] = []
        diff_ids = dict(zip(look.manifest.layers(), look.config.diff_ids, strict=False))
        for layer in (layer for layer in look.manifest.layers() if layer in look.readable):
            contents = self._contents(look.reference.repository, layer)
            if isinstance(contents, Exception):
                kind, message = "corrupt-blob", f"layer {layer.digest}: {getattr(contents, 'message', contents)}"
            elif diff_ids.get(layer, contents.diff_id) != contents.diff_id:
                kind, message = "wrong-diff-id", f"layer {layer.digest} unpacks to {contents.diff_id}, not {diff_ids[layer]}"
            else:
                read.append(contents)
                continue
            findings.append(Finding(kind=kind, reference=reference, message=message, platform=str(look.platform)))
        whole = look.whole and len(read) == len(look.manifest.layers())
        return PlatformContents(platform=look.platform, config=look.config, files=stack(read), whole=whole)

    def _contents(self, repository: Repository, layer: Descriptor) -> LayerContents | Exception:
        """From wherever it was found first, for the digest says it all; each copy is read where all bytes are to be."""
        if self._context.deep:
            return self._layers((repository, layer))
        with self._lock:
            self._places.setdefault(layer, repository)
        return self._known(layer)

    def _read_layer(self, key: tuple[Repository, Descriptor]) -> LayerContents | Exception:
        repository, layer = key
        try:
            return self._context.layers.read(repository, layer, deep=self._context.deep)
        except CheckError as error:
            return error
        except RegistryError as error:
            if error.damaged or error.status == 404:
                return error
            raise


def _missing(wanted: Wanted, others: Sequence[ImageReference]) -> Finding:
    optional = bool(wanted.expected and wanted.expected.optional)
    kind = "missing-image" if optional else "missing-tag"
    more = f", nor does {', '.join(other.tag for other in others)}" if others else ""
    return Finding(kind=kind, reference=wanted.reference, message=f"it does not exist{more}")


def _group(wanted: Sequence[Wanted], found: Sequence[_Found]) -> Iterator[tuple[Sequence[Wanted], _Found]]:
    """Tags that are the same image of the same expectation are looked at as one."""
    groups: dict[object, tuple[list[Wanted], _Found]] = {}
    for each, where in zip(wanted, found, strict=True):
        # All that an image lacks is told at once.
        digest = str(where.manifest.digest) if where.manifest else str(where.error or "")
        key = (each.reference.repository, digest, each.expected, each.platforms)
        groups.setdefault(key, ([], where))[0].append(each)
    return iter(groups.values())


def _compare_with_each_other(images: Sequence[VerifiedImage]) -> tuple[VerifiedImage, ...]:
    """The same tag at several hubs, and the tags of one variant at one hub, must be the same image."""
    by_tag: defaultdict[tuple[str, str], dict[ImageReference, str]] = defaultdict(dict)
    by_variant: defaultdict[tuple[Hub, ExpectedImage], dict[ImageReference, str]] = defaultdict(dict)
    for image in images:
        expected, hub = image.wanted.expected, image.wanted.hub
        if not expected or not hub or not image.digest:
            continue
        for reference in image.references:
            by_tag[expected.image, reference.tag][reference] = image.digest
            by_variant[hub, expected][reference] = image.digest
    more = [finding for same in by_tag.values() for finding in compare_hubs(same)]
    for same in by_variant.values():
        more += [replace(finding, kind="tags-differ") for finding in compare_hubs(same)]
    return tuple(_with_findings(image, more) for image in images)


def _with_findings(image: VerifiedImage, more: Sequence[Finding]) -> VerifiedImage:
    own = tuple(finding for finding in more if finding.reference in image.references)
    return replace(image, findings=(*image.findings, *own)) if own else image
