"""Checks of what is fetched: the source, Go and its modules, base images, Envoy, what is copied."""

import platform as machine
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from builder.config.go_version import is_minor_line, version_key
from builder.doctor.case import Case
from builder.doctor.examine import Check
from builder.doctor.finding import Finding, failed, ok, skipped, warning
from builder.doctor.probes import Probes
from builder.errors import ArtifactError, BuilderError
from builder.oci.reference import Hub, ImageReference, Platform, redact_url
from builder.plan.lock import FileArtifact, SourceFacts
from builder.ports import Downloader, GoToolchain
from builder.recipe.schema import Mirror
from builder.resolve.lookups import Lookups
from builder.resolve.resolver import Looking, what_is_asked

_Look = Callable[[Case, Probes], Finding]
_NOT_FETCHED = "which one it is stands in the source, which is not fetched yet"
_FETCH = "`istio-build plan`, with the same settings, fetches it; then ask again."
_OFFLINE = "not asked for, as nobody but hubs is with --offline"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# Served by every proxy of Go modules, and small.
_MODULE = "golang.org/x/mod/@v/v0.1.0.info"
# Any hub will do where none is given: nothing that is looked up depends on it.
_SOME_HUB = Hub("registry.invalid", "istio")


def source_checks(case: Case) -> Iterator[Check]:
    """All that apply to this case."""
    yield Check(name="source", subject=_source_name(case), look=partial(_source, case))
    if case.compiles and not case.request.go.image:
        yield Check(name="go-download", subject="", look=partial(_network, case, _go_download))
        yield Check(name="go-modules", subject="", look=partial(_network, case, _go_modules))
    if case.request.go.image:
        yield Check(name="compile-image", subject=case.request.go.image, look=partial(_network, case, _compile_image))
    for name in case.bases:
        yield Check(name="base-image", subject=name, look=partial(_network, case, partial(_base, name)))
    for name, platform in case.artifacts:
        look = partial(_network, case, partial(_artifact, name, platform))
        yield Check(name="artifact", subject=f"{name} {platform}", look=look)
    for mirror in case.mirrors:
        yield Check(name="mirror", subject=mirror.image, look=partial(_network, case, partial(_mirror, mirror)))


def _network(case: Case, look: _Look, probes: Probes) -> Finding:
    return skipped(_OFFLINE) if case.job.offline else look(case, probes)


def _source_name(case: Case) -> str:
    source = case.job.source
    return f"{source.release} of {redact_url(source.url)}" if source.release else str(source.directory or "")


def _source(case: Case, probes: Probes) -> Finding:
    source = case.job.source
    if case.trouble:
        return failed(case.trouble, "nothing is built", case.trouble_hint)
    if case.source and case.tree:
        state = "with changes that are not committed" if case.source.state.dirty else "clean"
        return ok(f"Istio {case.source.release}, commit {case.source.state.commit[:12]}, {state}, at {case.tree}")
    if not source.release:
        return skipped("none was given", "--istio names a release, --source a checkout.")
    if case.job.offline:
        return failed("it was not fetched before", "nothing is built with --offline", "`istio-build lock --fetch` fetches it.")
    if probes.git.has_tag(source.url, source.release):
        return ok("it is there, and is fetched when it is first needed")
    return failed("there is no such release", "nothing is built", "`istio-build list` says which releases are known.")


def _compile_image(case: Case, probes: Probes) -> Finding:
    reference = ImageReference.parse(case.request.go.image)
    if probes.registry.get_manifest(reference) is None:
        return failed(f"{reference} does not exist", "nothing is compiled", "--compile-in names an image with Go.")
    return ok(f"{reference} is there")


def _go_download(case: Case, probes: Probes) -> Finding:
    """Whether the Go that is asked for could be had. It is looked for, and not fetched."""
    installed, wish = probes.go.installed(), case.request.go.version
    if wish in ("machine", "newest"):
        return ok(f"--go {wish}: {'nothing is fetched' if wish == 'machine' else 'asked for when it is needed'}")
    version = wish if wish != "release" else case.source.go_directive if case.source else ""
    if not version:
        return skipped(_NOT_FETCHED.replace("one", "Go"), _FETCH)
    if version == installed.version or is_minor_line(version):
        return ok(f"Go {version}: {'this machine has it' if version == installed.version else 'its last patch, looked up then'}")
    name = f"v0.0.1-go{version}.{machine.system().lower()}-{_ARCHITECTURES.get(machine.machine(), machine.machine())}"
    settings = dict(installed.settings)
    if Path(settings.get("GOMODCACHE", "/nowhere"), f"golang.org/toolchain@{name}", "bin", "go").exists():
        return ok(f"Go {version} was fetched before")
    if settings.get("GOSUMDB") == "off":
        return _without(version, installed, wish, "GOSUMDB=off", "Leave GOSUMDB at its default, or say --go machine.")
    for proxy in _proxies(installed):
        if probes.downloader.exists(f"{proxy}/golang.org/toolchain/@v/{name}.zip"):
            return ok(f"Go {version} can be fetched from {redact_url(proxy)}")
    hint = "Let GOPROXY name a proxy that serves golang.org/toolchain, or say --go machine."
    return _without(version, installed, wish, "no proxy in GOPROXY has it", hint)


def _without(version: str, installed: GoToolchain, wish: str, why: str, mend: str) -> Finding:
    told = f"Go {version} cannot be fetched: {why}"
    if wish != "release" or version_key(installed.version) < version_key(version):
        return failed(told, "nothing is compiled", mend)
    return warning(told, f"this machine's Go {installed.version} compiles in its place", mend)


def _proxies(installed: GoToolchain) -> list[str]:
    """The proxies that GOPROXY names; `direct` and `off` are none (https://go.dev/ref/mod#environment-variables)."""
    words = dict(installed.settings).get("GOPROXY", "").replace("|", ",").split(",")
    return [word.strip().rstrip("/") for word in words if word.strip() not in ("", "direct", "off")]


def _go_modules(_: Case, probes: Probes) -> Finding:
    """Whether the proxies of modules answer, whatever they have."""
    installed = probes.go.installed()
    proxies = _proxies(installed)
    told = dict(installed.settings).get("GOPROXY", "")
    if not proxies:
        meaning = "modules come from where Go finds them" if "direct" in told else "only those in Go's module cache are there"
        return warning(f"GOPROXY={redact_url(told)} names no proxy", meaning, "`go env -u GOPROXY` takes Go's own.")
    troubles = []
    for proxy in proxies:
        try:
            probes.downloader.exists(f"{proxy}/{_MODULE}")
        except ArtifactError as error:
            troubles.append(error)
        else:
            return ok(f"{redact_url(proxy)} answers")
    return failed(troubles[0].message, "modules that Go's cache lacks cannot be had", f"{troubles[0].hint} See `go env GOPROXY`.")


def _base(name: str, case: Case, probes: Probes) -> Finding:
    if case.source is None:
        return skipped(_NOT_FETCHED, _FETCH)
    locked = _looking(case, case.source, probes).base(name)
    return ok(f"{replace(locked.reference, digest=None)} has {', '.join(str(one.platform) for one in locked.platforms)}")


def _mirror(recipe: Mirror, case: Case, probes: Probes) -> Finding:
    if case.source is None:
        return skipped(_NOT_FETCHED, _FETCH)
    locked = _looking(case, case.source, probes).mirror(recipe)
    return ok(f"{replace(locked.source, digest=None)} has {', '.join(map(str, locked.platforms))}")


def _artifact(name: str, platform: Platform, case: Case, probes: Probes) -> Finding:
    if case.source is None:
        return skipped(_NOT_FETCHED, _FETCH)
    notes: list[str] = []
    try:
        found = _looking(case, case.source, probes, notes).artifact(name, platform)
    except _IsThere as there:
        return warning(f"{there.url} is there, and no checksum of it is published", "it is trusted as it first comes")
    place = found.path if isinstance(found, FileArtifact) else redact_url(found.location)
    return warning(notes[0], "it is not where it is looked for first") if notes else ok(f"{place} is there")


class _IsThere(Exception):
    """What would now be fetched is there."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class _LooksOnly:
    """Implements `ports.Downloader`, but fetches nothing."""

    def __init__(self, downloader: Downloader) -> None:
        self.read_text = downloader.read_text
        self.exists = downloader.exists
        self.download = downloader.download

    def download_unsummed(self, url: str, into: Path) -> str:
        """It would be fetched now."""
        raise _IsThere(redact_url(url))


def _looking(case: Case, source: SourceFacts, probes: Probes, notes: list[str] | None = None) -> Looking:
    """What a run would look things up with. `notes` takes what it would say."""
    lookups = Lookups(
        check_file=lambda _: None,
        list_directory=_not_asked,
        find_go=_not_asked,
        registry=probes.registry,
        downloader=_LooksOnly(probes.downloader),
        cache=probes.scratch,
        note=(notes if notes is not None else []).append,
    )
    request = case.request if case.request.hubs else replace(case.request, hubs=(_SOME_HUB,))
    return Looking(what_is_asked(request, case.book, source, lookups), lookups, case.lock)


def _not_asked(*_: object) -> NoReturn:
    raise BuilderError("not looked at here")
