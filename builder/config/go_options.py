"""What users may say of how Go compiles: flags of `go build` and Go's environment. Pure."""

from collections.abc import Sequence

from builder.errors import RequestError

# What --go-env may set. Not GODEBUG: it would speak to the compiler; a program has its own by `//go:debug` lines.
SETTABLE = ("CGO_ENABLED", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GOFIPS140")


C_COMPILER = "CC"


# Where we put what `go build` makes, and what it makes it from, is not for flags to say.
_OURS = ("-o", "-C", "-n", "-json", "-toolexec", "-overlay", "-buildmode")


def parse_go_flags(words: Sequence[str]) -> tuple[str, ...]:
    """Check flags for `go build`. Raises RequestError for what is no flag, or sets what is ours to set."""
    for word in words:
        if not word.startswith("-"):
            raise RequestError(
                f"--go-flags: {word!r} is no flag", hint="Write a flag and its value as one: -gcflags=-S, '-ldflags=-v -w'."
            )
        if flag_name(word) in _OURS:
            raise RequestError(f"--go-flags: {flag_name(word)} cannot be set", hint="It would change what is made, or where.")
        if flag_name(word) in ("-ldflags", "-tags") and "=" not in word:
            raise RequestError(f"--go-flags: {word} lacks its value", hint=f"Write it as {word}=…")
    return tuple(words)


def parse_go_env(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Check settings of Go's environment. Raises RequestError for one that is not on the list."""
    for name, value in pairs:
        if name not in SETTABLE and not name.startswith(f"{C_COMPILER}_linux_"):
            raise RequestError(
                f"--go-env: {name} cannot be set", hint=f"These can: {', '.join(SETTABLE)}, and CC_linux_arm64 and the like."
            )
        if name == "CGO_ENABLED" and value not in ("0", "1"):
            raise RequestError(f"--go-env CGO_ENABLED={value!r} is malformed", hint="It is 0 or 1.")
    return tuple(sorted(pairs))


def flag_name(flag: str) -> str:
    """Go takes two dashes for one."""
    return f"-{flag.lstrip('-').partition('=')[0]}"
