"""Settings of a job: flags, then environment, then the project file, then defaults; and where each value came from."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.config.go_options import parse_go_env, parse_go_flags
from builder.config.go_version import is_version
from builder.config.options import DEFAULT_TIMEOUT
from builder.config.outputs import NOTHING_MORE, Outputs, check_addresses
from builder.config.request import (
    ARTIFACT_SOURCES,
    ARTIFACTS_WITH_FLAGS,
    GO_WISHES,
    ArtifactOverride,
    GoRequest,
    Request,
    SourceRequest,
)
from builder.errors import RequestError
from builder.oci.reference import SUPPORTED_PLATFORMS, Hub, Platform, parse_tag, redact_url
from builder.recipe.yaml_file import YamlDocument

DEFAULT_GIT_URL = "https://github.com/istio/istio"
LOCK_FILE = "istio-build.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What one flag or variable was given: the words, and whether it was `--hub` or `ISTIO_BUILD_HUB`."""

    words: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as it came out, and where it came from, for `plan` to show."""

    name: str
    value: str
    origin: str


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
    no_clobber: bool = False
    immutable: tuple[str, ...] = ()
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
    return origin.startswith(("--", "ISTIO_BUILD_"))


def make_job(given: Mapping[str, Given], project: YamlDocument | None, *, needs_hub: bool = True) -> Job:
    """Merge and check. Raises RequestError that says what is missing or malformed, and how it is given."""
    merged = _Merged(given, project)
    platforms = tuple(sorted({Platform.parse(word) for word in merged.words("platform", SUPPORTED_PLATFORMS)}))
    request = Request(
        hubs=_hubs(merged, needs_hub=needs_hub),
        tags=tuple(dict.fromkeys(parse_tag(word) for word in merged.words("tag"))),
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
    return Job(
        request=request,
        source=_source(merged),
        recipes=tuple(merged.path(word, "recipes") for word in merged.words("recipes")),
        engine=merged.word("engine", "auto"),
        builder=merged.word("builder"),
        insecure_registries=merged.words("insecure_registry"),
        timeout=_timeout(merged),
        lock=_lock(merged, project),
        locked=merged.word("locked") == "true",
        offline=merged.word("offline") == "true",
        no_clobber=merged.word("no_clobber") == "true",
        immutable=merged.words("immutable"),
        outputs=_outputs(merged),
        settings=tuple(merged.used.values()),
    )


class _Merged:
    """Looks a setting up in its three places, and remembers what was found where."""

    def __init__(self, given: Mapping[str, Given], project: YamlDocument | None) -> None:
        self._given = given
        self._project = project
        self.used: dict[str, Setting] = {}

    def words(self, name: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        words, origin = self._find(name)
        if not words:
            words, origin = tuple(default), "default"
        if words:
            self.used[name] = Setting(name=name, value=", ".join(words), origin=origin)
        return words

    def word(self, name: str, default: str = "") -> str:
        words = self.words(name, (default,) if default else ())
        return words[-1] if words else ""

    def path(self, word: str, name: str) -> Path:
        """A path of the project file is relative to that file, one of a flag to the working directory."""
        beside_project = self._project is not None and name not in self._given
        return self._project.path.parent / word if beside_project and self._project else Path(word)

    def location(self, word: str, name: str) -> str:
        """The same for what may also be a URL, or below somebody's home."""
        return word if "://" in word or word.startswith("~") else str(self.path(word, name))

    def rank(self, name: str) -> int:
        """How much a setting weighs: 2 for a flag, 1 for a variable, 0 for the project file."""
        if name not in self._given:
            return 0
        return 2 if self._given[name].origin.startswith("--") else 1

    def _find(self, name: str) -> tuple[tuple[str, ...], str]:
        if name in self._given:
            return self._given[name].words, self._given[name].origin
        data: dict[str, Any] = (self._project.data or {}) if self._project else {}
        if self._project and data.get(name):
            return _as_words(data[name]), self._project.where((name,))
        return (), ""


def _as_words(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - a value of a checked YAML file
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, Mapping):
        return tuple(f"{key}={entry}" for key, entry in value.items())
    return (str(value),) if isinstance(value, str | int | float) else tuple(str(entry) for entry in value)


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


def _hubs(merged: _Merged, *, needs_hub: bool) -> tuple[Hub, ...]:
    hubs = tuple(Hub.parse(word) for word in merged.words("hub"))
    if needs_hub and not hubs:
        raise RequestError(
            "no hub: where should the images go?",
            hint="Give --hub docker.io/me, set ISTIO_BUILD_HUB, or write `hub:` into istio-build.yaml.",
        )
    return hubs


def _lock(merged: _Merged, project: YamlDocument | None) -> Path:
    named = merged.word("lock")
    if named:
        return merged.path(named, "lock")
    return project.path.parent / LOCK_FILE if project else Path(LOCK_FILE)


def _outputs(merged: _Merged) -> Outputs:
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


def _timeout(merged: _Merged) -> float:
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


def _overrides(merged: _Merged) -> tuple[ArtifactOverride, ...]:
    return tuple(
        ArtifactOverride(artifact=name, platform=Platform.parse(platform), location=merged.location(location, name))
        for name in ARTIFACTS_WITH_FLAGS
        for platform, location in _pairs(name, merged.words(name), "linux/arm64=PATH-or-URL")
    )


def _go(merged: _Merged) -> GoRequest:
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


def _by_artifact(merged: _Merged, key: str) -> tuple[tuple[str, str], ...]:
    """What --NAME-key says, by artifact."""
    return tuple((name, word) for name in ARTIFACTS_WITH_FLAGS if (word := merged.word(f"{name}_{key}")))


def _artifact_sources(merged: _Merged) -> tuple[tuple[str, tuple[str, ...]], ...]:
    orders = tuple((name, merged.words(f"{name}_from")) for name in ARTIFACTS_WITH_FLAGS)
    for name, order in orders:
        for source in order:
            if source not in ARTIFACT_SOURCES:
                raise RequestError(
                    f"--{name}-from {source!r}: there is no such source",
                    hint=f"It is {', '.join(ARTIFACT_SOURCES)}, or some of them in another order.",
                )
    return tuple((name, tuple(dict.fromkeys(order))) for name, order in orders if order)


def _source(merged: _Merged) -> SourceRequest:
    """A flag for one of the two beats a variable for the other one, and either beats the project file's."""
    directory, release = merged.word("source"), merged.word("istio")
    if directory and release:
        ranks = merged.rank("source"), merged.rank("istio")
        if ranks[0] == ranks[1]:
            raise RequestError("both a source directory and a release are given", hint="Give --source or --istio, not both.")
        directory, release = (directory, "") if ranks[0] > ranks[1] else ("", release)
        merged.used.pop("istio" if directory else "source")
    if directory:
        return SourceRequest(directory=merged.path(directory, "source"))
    if release:
        return SourceRequest(release=parse_tag(release), url=merged.word("git_url", DEFAULT_GIT_URL))
    if Path("istio.deps").is_file():
        merged.used["source"] = Setting(name="source", value=".", origin="the working directory is Istio's source")
        return SourceRequest(directory=Path())
    raise RequestError(
        "no source: which Istio should be built?",
        hint="Give --istio 1.29.0 to fetch a release, or --source DIR for a checkout.",
    )
