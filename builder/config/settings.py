"""Settings of a job: flags, then environment, then the project file, then defaults; and where each value came from."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.config.amounts import parse_age, parse_count, parse_size
from builder.config.go_options import parse_go_env, parse_go_flags
from builder.config.go_version import is_version
from builder.config.merged import Given, Merged, Setting, given_by
from builder.config.options import DEFAULT_TIMEOUT
from builder.config.outputs import NOTHING_MORE, Outputs, check_addresses
from builder.config.request import (
    ARTIFACT_SOURCES,
    ARTIFACTS_WITH_FLAGS,
    GO_WISHES,
    ArtifactOverride,
    CacheLimits,
    GoRequest,
    Request,
    Retention,
    SourceRequest,
)
from builder.config.tag_template import parse_moving_tags, parse_tags
from builder.errors import RequestError
from builder.oci.reference import SUPPORTED_PLATFORMS, Hub, Platform, redact_url
from builder.recipe.release_wish import WishKind, parse_wishes
from builder.recipe.yaml_file import YamlDocument

DEFAULT_GIT_URL = "https://github.com/istio/istio"
LOCK_FILE = "istio-build.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything a command was asked for, checked for form but not looked up."""

    request: Request
    source: SourceRequest
    recipes: tuple[Path, ...]
    engine: str
    builder: str
    insecure_registries: tuple[str, ...]
    timeout: float
    settings: tuple[Setting, ...]
    lock: Path = Path(LOCK_FILE)
    locked: bool = False
    offline: bool = False
    patches: tuple[Path, ...] = ()
    no_clobber: bool = False
    immutable: tuple[str, ...] = ()
    cache: CacheLimits = field(default_factory=CacheLimits)
    retention: Retention = field(default_factory=Retention)
    moving_tags: tuple[str, ...] = ()
    outputs: Outputs = NOTHING_MORE

    @property
    def exposed_hubs(self) -> tuple[str, ...]:
        """Registries that a flag or variable names as a hub, and of which only a file says that plain HTTP will do.

        A file in the working directory may be anybody's, and credentials go where it says.
        """
        origins = {setting.name: setting.origin for setting in self.settings}
        if _is_typed(origins.get("insecure_registry", "--")) or not _is_typed(origins.get("hub", "")):
            return ()
        hosts = dict.fromkeys(hub.registry for hub in self.request.hubs)
        return tuple(host for host in hosts if {host, host.rpartition(":")[0]} & set(self.insecure_registries))


def _is_typed(origin: str) -> bool:
    return given_by(origin) in ("flag", "variable")


def make_job(given: Mapping[str, Given], project: YamlDocument | None, *, needs_hub: bool = True) -> Job:
    """Merge and check. Raises RequestError that says what is missing or malformed, and how it is given."""
    merged = Merged(given, project)
    return Job(
        request=_request(merged, needs_hub=needs_hub),
        source=_source(merged),
        recipes=tuple(merged.path(word, "recipes") for word in merged.words("recipes")),
        patches=tuple(merged.path(word, "patches") for word in merged.words("patches")),
        engine=merged.word("engine", "auto"),
        builder=merged.word("builder"),
        insecure_registries=merged.words("insecure_registry"),
        timeout=_timeout(merged),
        lock=_lock(merged, project),
        locked=merged.word("locked") == "true",
        offline=merged.word("offline") == "true",
        no_clobber=merged.word("no_clobber") == "true",
        immutable=merged.words("immutable"),
        cache=_cache(merged),
        retention=_retention(merged),
        moving_tags=parse_moving_tags(merged.words("moving_tags")),
        outputs=_outputs(merged),
        settings=tuple(merged.used.values()),
    )


def _request(merged: Merged, *, needs_hub: bool) -> Request:
    platforms = tuple(sorted({Platform.parse(word) for word in merged.words("platform", SUPPORTED_PLATFORMS)}))
    return Request(
        hubs=_hubs(merged, needs_hub=needs_hub),
        tags=parse_tags(merged.words("tag")),
        platforms=platforms,
        images=tuple(dict.fromkeys(merged.words("image"))),
        variants=tuple(dict.fromkeys(merged.words("variant"))),
        base_registry=merged.word("base_registry").rstrip("/"),
        bases=_pairs("base", merged.words("base"), "base=docker.io/me/base:1"),
        artifact_urls=_by_artifact(merged, "url"),
        artifact_images=_by_artifact(merged, "image"),
        artifact_sources=_artifact_sources(merged),
        artifact_overrides=_overrides(merged),
        debug_artifacts=("envoy",) if merged.word("debug_envoy") == "true" else (),
        build_bases=merged.word("bases") == "build",
        base_distribution=merged.word("base_distribution"),
        apt_mirrors=_pairs("apt-mirror", merged.words("apt_mirror"), "debian=https://mirror.corp.example/debian"),
        compression=merged.word("compression", "gzip"),
        mirror_sources=_pairs("mirror-from", merged.words("mirror_from"), "agentgateway=docker.io/me/agentgateway:1"),
        go=_go(merged),
    )


def _pairs(flag: str, words: Sequence[str], example: str) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name or not value:
            raise RequestError(f"--{flag} {redact_url(word)!r} is malformed", hint=f"Write it as --{flag} {example}.")
        if name in dict(pairs):
            raise RequestError(f"--{flag} {name} is given twice", hint="Leave out one of the two.")
        pairs.append((name, value))
    return tuple(pairs)


def _hubs(merged: Merged, *, needs_hub: bool) -> tuple[Hub, ...]:
    hubs = tuple(Hub.parse(word) for word in merged.words("hub"))
    if needs_hub and not hubs:
        raise RequestError(
            "no hub: where should the images go?",
            hint="Give --hub docker.io/me, set ISTIO_BUILD_HUB, or write `hub:` into istio-build.yaml.",
        )
    return hubs


def _lock(merged: Merged, project: YamlDocument | None) -> Path:
    named = merged.word("lock")
    if named:
        return merged.path(named, "lock")
    return project.path.parent / LOCK_FILE if project else Path(LOCK_FILE)


def _outputs(merged: Merged) -> Outputs:
    report, trace, metrics = (
        merged.path(word, name) if (word := merged.word(name)) else None for name in ("report", "trace", "metrics")
    )
    addresses = merged.words("notify")
    if addresses:
        origin = merged.used["notify"].origin
        check_addresses(addresses, "" if _is_typed(origin) else origin)
        merged.used["notify"] = Setting(name="notify", value="not shown", origin=origin)
    return Outputs(
        report=report,
        report_url=merged.word("report_url"),
        trace=trace,
        metrics=metrics,
        notify=addresses,
        notify_on=merged.word("notify_on", "change") if addresses else "",
    )


def _timeout(merged: Merged) -> float:
    word = merged.word("timeout") or DEFAULT_TIMEOUT
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise RequestError(
            f"--timeout {word!r} is no number of seconds above 0", hint=f"Write it as --timeout {DEFAULT_TIMEOUT}."
        )
    return seconds


def _cache(merged: Merged) -> CacheLimits:
    keep, max_size = merged.word("cache_keep"), merged.word("cache_max_size")
    return CacheLimits(
        keep=parse_age(keep, "--cache-keep") if keep else None,
        max_size=parse_size(max_size, "--cache-max-size") if max_size else None,
    )


def _retention(merged: Merged) -> Retention:
    keep = merged.word("retain")
    patterns = tuple(dict.fromkeys(merged.words("retain_tags")))
    return Retention(patterns=patterns, keep=parse_count(keep, "--retain") if keep else 0)


def _overrides(merged: Merged) -> tuple[ArtifactOverride, ...]:
    return tuple(
        ArtifactOverride(artifact=name, platform=Platform.parse(platform), location=merged.location(location, name))
        for name in ARTIFACTS_WITH_FLAGS
        for platform, location in _pairs(name, merged.words(name), "linux/arm64=PATH-or-URL")
    )


def _go(merged: Merged) -> GoRequest:
    version, image = merged.word("go"), merged.word("compile_in")
    if version and image:
        raise RequestError(
            "--go cannot be used with --compile-in", hint="An image brings its own Go: name one with the Go you want."
        )
    version = version.removeprefix("go")
    if version and version not in GO_WISHES and not is_version(version):
        raise RequestError(f"--go {version!r} is malformed", hint=f"It is {', '.join(GO_WISHES)}, or a version such as 1.25.9.")
    try:
        # Joined first: a variable comes in words already, in which quotes stand as they were written.
        flags = parse_go_flags(shlex.split(" ".join(merged.words("go_flags"))))
    except ValueError as error:
        raise RequestError(f"--go-flags is malformed: {error}", hint="Quote as for a shell.") from error
    return GoRequest(
        version=version or GO_WISHES[0],
        image=image,
        flags=flags,
        env=parse_go_env(_pairs("go-env", merged.words("go_env"), "GOFIPS140=v1.0.0")),
        debug=merged.word("debug") == "true",
    )


def _by_artifact(merged: Merged, key: str) -> tuple[tuple[str, str], ...]:
    """What --NAME-key says, by artifact."""
    return tuple((name, word) for name in ARTIFACTS_WITH_FLAGS if (word := merged.word(f"{name}_{key}")))


def _artifact_sources(merged: Merged) -> tuple[tuple[str, tuple[str, ...]], ...]:
    orders = tuple((name, merged.words(f"{name}_from")) for name in ARTIFACTS_WITH_FLAGS)
    for name, order in orders:
        for source in order:
            if source not in ARTIFACT_SOURCES:
                raise RequestError(
                    f"--{name}-from {source!r}: there is no such source",
                    hint=f"It is {', '.join(ARTIFACT_SOURCES)}, or some of them in another order.",
                )
    return tuple((name, tuple(dict.fromkeys(order))) for name, order in orders if order)


def _source(merged: Merged) -> SourceRequest:
    """A flag for one of the two beats a variable for the other one, and either beats the project file's."""
    directory, releases = merged.word("source"), merged.words("istio")
    if directory and releases:
        ranks = merged.rank("source"), merged.rank("istio")
        if ranks[0] == ranks[1]:
            raise RequestError("both a source directory and a release are given", hint="Give --source or --istio, not both.")
        directory, releases = (directory, ()) if ranks[0] > ranks[1] else ("", releases)
        merged.used.pop("istio" if directory else "source")
    if directory:
        return SourceRequest(directory=merged.path(directory, "source"))
    if releases:
        return _releases(releases, _git_url(merged))
    if Path("istio.deps").is_file():
        merged.used["source"] = Setting(name="source", value=".", origin="the working directory is Istio's source")
        return SourceRequest(directory=Path())
    raise RequestError(
        "no source: which Istio should be built?",
        hint="Give --istio 1.29.0 to fetch a release, or --source DIR for a checkout.",
    )


def _git_url(merged: Merged) -> str:
    """A directory is made absolute, as git runs in another one. What git takes for one has no colon before its first slash."""
    url = merged.word("git_url", DEFAULT_GIT_URL)
    return url if ":" in url.partition("/")[0] else str(merged.path(url, "git_url").absolute())


def _releases(words: Sequence[str], url: str) -> SourceRequest:
    """Of one release that is named exactly, nothing has to be looked up."""
    wishes = parse_wishes(words)
    if len(wishes) == 1 and wishes[0].kind is WishKind.EXACT:
        return SourceRequest(release=wishes[0].text, url=url)
    return SourceRequest(wishes=wishes, url=url)
