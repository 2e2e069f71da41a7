"""How the Go programs of an image are compiled: packages, flags, stamps, environment, and which Go. Pure."""

from collections.abc import Iterator, Sequence

from builder.config.go_options import C_COMPILER
from builder.config.go_version import is_minor_line
from builder.config.request import GO_WISHES
from builder.explain.evidence import Evidence, by_platform, line_origin
from builder.explain.fact import Fact, Origin
from builder.oci.reference import Platform
from builder.plan.compile import COMPILE_TEMPLATE
from builder.plan.go_build import c_compiler_setting, go_command, go_environment
from builder.ports import GoCommand
from builder.recipe.schema import BuiltImage
from builder.recipe.traced import TracedRecipe

_RELEASE, _MACHINE, _NEWEST = GO_WISHES
# What sets them is neither a recipe nor a setting: docs/go.md says why.
_OURS = Origin(kind="builder", text="so that machines make the same bytes")


def explain_programs(evidence: Evidence, recipe: BuiltImage, traced: TracedRecipe) -> tuple[Fact, ...]:
    """Each program by its path: its main package, and the tags that it is compiled with."""
    return tuple(
        Fact(
            name=binary.path,
            value="",
            origins=(line_origin(traced, "binaries", index, "path"),),
            parts=(
                Fact(name="package", value=binary.main, origins=(line_origin(traced, "binaries", index, "main"),)),
                _tags(evidence, binary.tags, line_origin(traced, "binaries", index, "tags")),
            ),
        )
        for index, binary in enumerate(recipe.binaries)
    )


def _tags(evidence: Evidence, tag_set: str, chosen: Origin) -> Fact:
    tags = _command(evidence, tag_set).tags
    own = [tag for tag in tags if tag not in evidence.book.release.go.tags[tag_set]]
    return Fact(
        name="-tags",
        value=",".join(tags) or "none",
        origins=(line_origin(evidence.release, "go", "tags", tag_set), *((evidence.setting_or("go_flags", ""),) if own else ())),
        parts=(Fact(name="tag set", value=tag_set, origins=(chosen,)),),
    )


def explain_compiling(evidence: Evidence) -> tuple[Fact, ...]:
    """What all programs of a run have in common: the Go, the flags, what is stamped into them, the environment."""
    go = evidence.book.release.go
    command = _command(evidence, next(iter(go.tags)))
    return (
        _go(evidence),
        *_flags(evidence, command.flags),
        *_linker_flags(evidence, command.ldflags),
        *(fact for name in go.stamp for fact in _stamp(evidence, name)),
        *_environment(evidence),
    )


def _command(evidence: Evidence, tag_set: str) -> GoCommand:
    """Without what is stamped in."""
    go = evidence.book.release.go
    return go_command(go, evidence.request.go, (), go.tags[tag_set], ())


def _go(evidence: Evidence) -> Fact:
    wish, directive = evidence.request.go, evidence.source.go_directive
    in_go_mod = evidence.in_source("go")
    if evidence.bound.go:
        version, where = evidence.bound.go
        return Fact(name="Go", value=version, origins=(where,))
    if wish.image:
        template = Origin(kind="template", text="its Dockerfile is", path=evidence.template_path(COMPILE_TEMPLATE), line=1)
        return Fact(name="Go", value=f"that of the image {wish.image}", origins=(evidence.setting_or("compile_in", ""), template))
    if wish.version == _RELEASE:
        value = f"{directive}, its last patch" if is_minor_line(directive) else directive
        asked = evidence.setting("go")
        return Fact(name="Go", value=value, origins=(in_go_mod, *((asked,) if asked else ())))
    values = {_MACHINE: "this machine's", _NEWEST: "the newest that there is"}
    value = values.get(wish.version, f"{wish.version}, its last patch" if is_minor_line(wish.version) else wish.version)
    at_least = Fact(name="go.mod asks for", value=directive, origins=(in_go_mod,))
    return Fact(name="Go", value=value, origins=(evidence.setting_or("go", ""),), parts=(at_least,))


def _flags(evidence: Evidence, flags: Sequence[str]) -> Iterator[Fact]:
    """A flag and its value are two words where they are ours (`-gcflags "all=-N -l"`)."""
    recipe, asked = evidence.book.release.go.flags, evidence.request.go
    found = [(flag, _flag_origin(evidence, flag, recipe.index(flag) if flag in recipe else -1)) for flag in flags]
    yield from _joined("flags", found)
    if asked.debug and "-trimpath" in recipe:
        where = line_origin(evidence.release, "go", "flags", recipe.index("-trimpath"))
        yield Fact(name="left out", value="-trimpath", origins=(evidence.setting_or("debug", ""), where))


def _flag_origin(evidence: Evidence, flag: str, number: int) -> Origin:
    if number >= 0:
        return line_origin(evidence.release, "go", "flags", number)
    return evidence.setting_or("go_flags" if flag in evidence.request.go.flags else "debug", "")


def _linker_flags(evidence: Evidence, ldflags: Sequence[str]) -> Iterator[Fact]:
    """The recipe's come first, then those of --go-flags, which may be several in one word."""
    recipe = () if evidence.request.go.debug else evidence.book.release.go.ldflags
    found = [
        (
            flag,
            line_origin(evidence.release, "go", "ldflags", number)
            if number < len(recipe)
            else evidence.setting_or("go_flags", ""),
        )
        for number, flag in enumerate(ldflags)
    ]
    yield from _joined("-ldflags", found)
    if evidence.request.go.debug:
        where = line_origin(evidence.release, "go", "ldflags")
        left_out = " ".join(evidence.book.release.go.ldflags)
        yield Fact(name="left out", value=f"-ldflags {left_out}", origins=(evidence.setting_or("debug", ""), where))


def _joined(name: str, words: Sequence[tuple[str, Origin]]) -> Iterator[Fact]:
    """Words beside each other that are of one line are told together."""
    together: list[tuple[list[str], Origin]] = []
    for word, origin in words:
        if together and _same_line(together[-1][1], origin):
            together[-1][0].append(word)
        else:
            together.append(([word], origin))
    for found, origin in together:
        yield Fact(name=name, value=" ".join(found), origins=(origin,))


def _same_line(one: Origin, other: Origin) -> bool:
    return (one.kind, one.path, one.line, one.key.partition("[")[0]) == (
        other.kind,
        other.path,
        other.line,
        other.key.partition("[")[0],
    )


def _stamp(evidence: Evidence, name: str) -> tuple[Fact, ...]:
    go = evidence.book.release.go
    package = Fact(name="package", value=go.stamp_package, origins=(line_origin(evidence.release, "go", "stamp_package"),))

    def on(platform: Platform) -> Fact:
        where = line_origin(evidence.release, "go", "stamp", name)
        filled = evidence.filled(f"-X {name}", go.stamp[name], (where,), platform)
        return Fact(name=filled.name, value=filled.value, origins=filled.origins, parts=(*filled.parts, package))

    return by_platform([(platform, on(platform)) for platform in evidence.request.platforms])


def _environment(evidence: Evidence) -> Iterator[Fact]:
    """Which Go it is counts for `-buildvcs` alone, which those before 1.18 lack."""
    version = evidence.request.go.version
    asked = evidence.source.go_directive if version in GO_WISHES or evidence.request.go.image else version
    known = evidence.bound.go[0] if evidence.bound.go else asked
    recipe, platforms = evidence.book.release.go, evidence.request.platforms
    on = {platform: go_environment(platform, known, recipe, evidence.request.go) for platform in platforms}
    for name in dict.fromkeys(name for env in on.values() for name in env):
        facts = [
            (platform, Fact(name=f"env {name}", value=env[name], origins=(_env_origin(evidence, name, platform),)))
            for platform, env in on.items()
        ]
        yield from by_platform(facts)


def _env_origin(evidence: Evidence, name: str, platform: Platform) -> Origin:
    wished = dict(evidence.request.go.env)
    if name in wished or (name == C_COMPILER and c_compiler_setting(platform) in wished):
        return evidence.setting_or("go_env", "")
    if name in evidence.book.release.go.env:
        return line_origin(evidence.release, "go", "env", name)
    if name in ("GOOS", "GOARCH"):
        return Origin(kind="platform", text="the platform")
    return _OURS
