"""Holds an image's configuration and files against its platform, its other platforms, and its recipe. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from builder.images.check import FOR_EVERY_KERNEL, foreign_programs
from builder.oci.go_build_info import is_revision
from builder.oci.manifest import ImageConfig
from builder.oci.reference import Hub, ImageReference, Platform
from builder.verify.contents import Program
from builder.verify.expectation import ExpectedFile, ExpectedImage
from builder.verify.files import ImageFiles
from builder.verify.findings import Finding, name_paths

# Labels that Istio's own images lack, and ours have.
_STANDARD = "org.opencontainers.image."
# The program that installs from the hub that it is stamped with.
_INSTALLER = "istioctl"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformContents:
    """An image on one platform; `whole` says that all its layers could be read."""

    platform: Platform
    config: ImageConfig
    files: ImageFiles
    whole: bool


def inspect_machine(reference: ImageReference, contents: PlatformContents) -> Iterator[Finding]:
    """Programs that would end in `exec format error`."""
    wrong = foreign_programs(contents.files.entries.values(), contents.platform)
    by_machine: defaultdict[str, list[str]] = defaultdict(list)
    for entry in wrong:
        by_machine[entry.architecture].append(entry.path)
    for machine, paths in sorted(by_machine.items()):
        yield Finding(
            kind="wrong-architecture",
            reference=reference,
            platform=str(contents.platform),
            message=f"for {machine}, not for {contents.platform.architecture}: {name_paths(sorted(paths))}",
            paths=tuple(sorted(paths)),
        )


def inspect_twins(reference: ImageReference, platforms: Sequence[PlatformContents]) -> Iterator[Finding]:
    """The very same program under two platforms: at most one of them can run it."""
    for number, first in enumerate(platforms):
        for second in platforms[number + 1 :]:
            own, other = (
                {
                    path: entry
                    for path, entry in contents.files.entries.items()
                    if entry.architecture and int(entry.mode, 8) & 0o111
                }
                for contents in (first, second)
            )
            paths = sorted(path for path in own.keys() & other.keys() if own[path].sha256 == other[path].sha256)
            # Bytecode for the kernel is the same everywhere.
            paths = [path for path in paths if own[path].architecture != FOR_EVERY_KERNEL]
            if paths:
                yield Finding(
                    kind="same-program",
                    reference=reference,
                    platform=str(second.platform),
                    message=f"the same bytes as on {first.platform}: {name_paths(paths)}",
                    paths=tuple(paths),
                )


def inspect_recipe(reference: ImageReference, contents: PlatformContents, expected: ExpectedImage, hub: Hub) -> Iterator[Finding]:
    """What is not as the recipe says."""
    platform = str(contents.platform)
    differences = [*_config_differences(contents.config, expected)]
    if contents.whole:
        differences += _file_differences(contents.files, expected)
    for kind, message in differences:
        yield Finding(kind=kind, reference=reference, platform=platform, message=message)
    for file in expected.files:
        program = contents.files.programs.get(file.path)
        for kind, message in _program_differences(program, file, expected, contents.platform) if program else ():
            yield Finding(kind=kind, reference=reference, platform=platform, message=message, paths=(file.path,))
        stamped = _other_hub(program, hub) if program and file.path.endswith(f"/{_INSTALLER}") else ""
        if stamped:
            message = f"{file.path} is stamped with {stamped}, and installs from there"
            yield Finding(kind="other-hub", reference=reference, platform=platform, message=message, paths=(file.path,))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFacts:
    """What a Go program says of itself: the Go and the package that it was built of; version and hub, where they can be told."""

    platform: Platform
    path: str
    go: str
    package: str
    version: str
    hub: str


def describe_programs(contents: PlatformContents, expected: ExpectedImage | None, hub: Hub | None) -> Iterator[ProgramFacts]:
    """All Go programs of an image."""
    for path, program in sorted(contents.files.programs.items()):
        stamps = dict(program.build.stamps)
        own = (str(hub),) if hub else ()
        yield ProgramFacts(
            platform=contents.platform,
            path=path,
            go=program.build.go,
            package=program.build.path,
            version=stamped_version(program, expected.versions if expected else ()) or "",
            hub=next((text for text in (*own, *_ISTIO_HUBS) if any(value.endswith(text) for value in stamps.values())), ""),
        )


def _config_differences(config: ImageConfig, expected: ExpectedImage) -> Iterator[tuple[str, str]]:
    wanted = (
        ("wrong-user", "user", expected.user, config.user),
        ("wrong-entrypoint", "entrypoint", expected.entrypoint, config.entrypoint),
        ("wrong-entrypoint", "command", expected.command, config.command),
        ("wrong-workdir", "working directory", expected.workdir, config.working_dir or "/"),
    )
    for kind, name, right, found in wanted:
        if right and found != right:
            yield kind, f"{name} is {_shown(found)}, not {_shown(right)}"
    yield from _map_differences("wrong-env", expected.env, dict(config.env))
    yield from _map_differences("wrong-label", expected.labels, dict(config.labels))


def _map_differences(
    kind: str, wanted: Sequence[tuple[str, tuple[str, ...]]], found: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for name, right in wanted:
        if name not in found:
            if not name.startswith(_STANDARD):
                yield kind, f"{name} is not set"
        elif right and found[name] not in right:
            yield kind, f"{name} is {found[name]!r}, not {' or '.join(map(repr, right))}"


def _shown(value: str | tuple[str, ...]) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _file_differences(files: ImageFiles, expected: ExpectedImage) -> Iterator[tuple[str, str]]:
    for file in expected.files:
        entry = files.entries.get(file.path)
        if entry is None:
            if not files.is_hidden(file.path):
                yield "missing-file", f"{file.path} is not there"
        elif entry.kind not in ("file", "link"):
            yield "wrong-mode", f"{file.path} is a {entry.kind}, not a file"
        elif entry.kind == "file" and _may_run(entry.mode) != _may_run(file.mode):
            yield "wrong-mode", f"{file.path} has mode {entry.mode}, not {file.mode}"


def _may_run(mode: str) -> bool:
    """Whether everybody may: who built the image decides on the other bits."""
    return int(mode, 8) & 0o111 == 0o111


def _program_differences(
    program: Program, file: ExpectedFile, expected: ExpectedImage, platform: Platform
) -> Iterator[tuple[str, str]]:
    if not file.package:
        return
    build = program.build
    settings = dict(build.settings)
    if build.path and not build.path.endswith(file.package):
        yield "wrong-program", f"{file.path} is {build.path}, not …{file.package}"
    for name, right in (("GOOS", platform.os), ("GOARCH", platform.architecture)):
        if settings.get(name, right) != right:
            yield "wrong-program", f"{file.path} was built with {name}={settings[name]}, not {right}"
    stamped = stamped_version(program, expected.versions)
    if stamped is not None and stamped not in expected.versions:
        yield "wrong-version", f"{file.path} is stamped with {stamped or 'no version'}, not {' or '.join(expected.versions)}"


def stamped_version(program: Program, right: Sequence[str]) -> str | None:
    """The version that the linker wrote into a program: one of the right ones, else what looks like one ("" for nothing).

    None where nothing can be said: a program that does not use the variables is built without them.
    """
    stamps = program.build.stamps
    named = next((value for name, value in stamps if name.endswith(".buildVersion")), "")
    if named:
        return named
    values = [value for _, value in stamps]
    for version in right:
        # What stands before a text in the file may look like the beginning of it.
        if any(value.endswith(version) for value in values):
            return version
    # The commit is stamped along with the version, and used along with it.
    if not any(is_revision(value) for value in values):
        return None
    return ", ".join(sorted(value for value in values if value[:2] == "1." and not value.endswith(program.build.go)))


def _other_hub(program: Program, hub: Hub) -> str:
    """The hub that a program is stamped with, where it can be told and is another one."""
    stamps = program.build.stamps
    named = next((value for name, value in stamps if name.endswith(".buildHub")), "")
    values = [named] if named else [value for _, value in stamps if "/" in value or ":" in value]
    if not values or any(value.endswith(str(hub)) for value in values):
        return ""
    # More than one may look like a hub; Istio's own are the ones that mirrors are filled from.
    known = [value for value in values if value.endswith(_ISTIO_HUBS)]
    return named or (known[0] if known else "")


# Where Istio publishes, and mirrors are filled from; releases are stamped with one of these.
_ISTIO_HUBS = ("docker.io/istio", "gcr.io/istio-release", "gcr.io/istio-testing", "registry.istio.io/release")
