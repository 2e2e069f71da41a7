"""The settings of a job, each declared once: flag, variable, key of the project file, its schema and its documentation."""

from builder.config.option import Option, pairs, word, words

DEFAULT_TIMEOUT = "120"

WHERE = (
    words(
        "hub",
        "HUB",
        "Where images go: a registry and a path, such as docker.io/me.",
        "The first of several is stamped into the programs.",
    ),
    words(
        "tag",
        "TAG",
        "The tag; by default the source's version. It may hold {{ release }}, {{ line }}, {{ commit }}, {{ date }}, {{ n }}.",
        "The first of several is stamped into the programs. See [Tags by rule](nightly.md#tags-by-rule).",
    ),
    words(
        "insecure_registry",
        "HOST",
        "A registry to speak to over plain HTTP.",
        "Loopback addresses are without being named.",
    ),
)

SOURCE = (
    words(
        "istio",
        "RELEASE",
        "The release of Istio to fetch and build: 1.29.0, 1.29 (its newest patch), latest, 1.27+, '1.26 to 1.28' or supported.",
        "See [Releases by rule](nightly.md#releases-by-rule).",
    ),
    word("source", "DIR", "A checkout of Istio to build instead.", "Relative to this file."),
    word("git_url", "URL", "Where --istio fetches from.", "`https://github.com/istio/istio` by default."),
    Option(
        name="patches",
        spelled="--patch",
        metavar="FILE-or-DIR",
        kind="words",
        help="A patch to apply to the source, or a directory of *.patch, in order.",
        more="Relative to this file. The flag is `--patch`: see [Patches](patches.md).",
    ),
    Option(
        name="recipes",
        metavar="DIR",
        kind="words",
        help="A directory of recipes and templates of your own.",
        more="Relative to this file: see [Recipes](recipes.md).",
    ),
)

LOCK = (
    word("lock", "FILE", "The lock; istio-build.lock beside the project file by default.", "Relative to this file."),
    Option(
        name="locked",
        kind="switch",
        help="Take bases, Envoy, Go and the commit as the lock binds them; look nothing up.",
        more="What it does not bind is an error: see [The lock](lock.md).",
    ),
    Option(
        name="offline",
        kind="switch",
        help="Ask nobody but the hubs that are pushed to: all else comes from the cache.",
        more="See [Offline](lock.md#offline).",
    ),
)

GO = (
    word(
        "go",
        "GO",
        "Which Go compiles: release (what go.mod asks for; the default), machine, newest, or 1.25.9.",
        "See [Go](go.md).",
    ),
    word(
        "compile_in",
        "IMAGE",
        "An image to compile in, with its Go, instead of on this machine.",
        "See [Compiling in an image](go.md#compiling-in-an-image).",
    ),
    Option(
        name="go_flags", metavar="FLAGS", kind="words", help="More flags of `go build`, such as -gcflags=-S, after the recipe's."
    ),
    pairs(
        "go_env",
        "NAME=VALUE",
        "Go's environment: GOFIPS140, GOEXPERIMENT, CGO_ENABLED, …",
        "By name: `{ GOFIPS140: v1.0.0 }`.",
    ),
    Option(name="debug", kind="switch", help="Compile for a debugger, as Istio's DEBUG=1 does."),
    word("builder", "NAME", "The buildx builder to use."),
)

WHAT = (
    words(
        "image",
        "NAME",
        "An image or group (core, mesh, test, bases, all); core by default.",
        "Those that you have [recipes of your own](recipes.md) for belong to the core unless they say otherwise.",
    ),
    words("variant", "NAME", "A variant to build: debug, distroless; all by default."),
    words("platform", "OS/ARCH", "A platform; linux/amd64 and linux/arm64 by default."),
    word("base_registry", "REGISTRY", "Where base images come from.", "`docker.io/istio` by default."),
    pairs("base", "NAME=REFERENCE", "A base image of your own.", "By name: `{ base: registry.corp.example/base:1 }`."),
    pairs(
        "mirror_from",
        "IMAGE=REFERENCE",
        "Where to copy a mirrored image from.",
        "By image: `{ agentgateway: registry.corp.example/agentgateway:v1.0.1 }`; see "
        "[Mirrored images](sources.md#mirrored-images).",
    ),
    Option(
        name="bases",
        choices=("copy", "build"),
        help="How the images of group bases come about.",
        more="`copy` is the default; `build` makes them of packages: see [Base images](bases.md).",
    ),
    word(
        "base_distribution",
        "NAME:SUITE",
        "What bases are built from, such as ubuntu:noble.",
        "By default what Istio takes.",
    ),
    pairs(
        "apt_mirror",
        "NAME=URL",
        "A mirror of a package archive.",
        "By archive: `ubuntu`, `ubuntu-ports`, `debian`, `debian-security`.",
    ),
    word("envoy_url", "URL", "The URL below which Envoy's archives are: a mirror.", "Their checksums are beside them."),
    pairs(
        "envoy",
        "OS/ARCH=PATH-or-URL",
        "An Envoy of your own: a program or .tar.gz.",
        "By platform: `{ linux/arm64: /opt/envoy }`. A URL without a published checksum beside it needs `#sha256=…` behind it.",
    ),
    word("envoy_image", "REFERENCE", "A proxyv2 image to take Envoy out of, where it is nowhere else."),
    words(
        "envoy_from",
        "SOURCE,…",
        "Where to look for Envoy, in this order; file,url,image by default.",
        "See [Envoy and ztunnel](sources.md#envoy-and-ztunnel).",
    ),
    Option(name="debug_envoy", kind="switch", help="Take Envoy with its symbols, as Istio's DEBUG_IMAGE does."),
    word("ztunnel_url", "URL", "The URL below which ztunnel's programs are: a mirror."),
    pairs("ztunnel", "OS/ARCH=PATH-or-URL", "A ztunnel of your own.", "By platform, as for `envoy`."),
    word("ztunnel_image", "REFERENCE", "A ztunnel image to take the program out of."),
    words("ztunnel_from", "SOURCE,…", "Where to look for ztunnel, in this order; file,url,image by default."),
    Option(
        name="engine",
        choices=("auto", "buildx", "builtin"),
        help="What assembles images; auto by default.",
        more="`auto` takes buildx where a Docker engine (or the named `builder`) answers, else `builtin`, which needs no "
        "Docker and no root. The images are the same, to the digest: see [Engines](engines.md).",
    ),
    Option(
        name="compression",
        choices=("gzip", "zstd"),
        help="How layers are compressed.",
        more="`gzip` is the default, as every runtime can read it; `zstd` is smaller and faster: containerd 1.5, Docker 23.",
    ),
)

TAGS = (
    Option(
        name="no_clobber",
        kind="switch",
        help="Move no tag that exists: only new tags are made.",
        more="A tag that is at this very image already is left as it is. See [Tags](tags.md).",
    ),
    words(
        "immutable",
        "PATTERN",
        "Move no tag that exists and that this pattern is for, such as '1.*'.",
        "As a shell has them, over the whole tag: `1.*` is for `1.29.0-distroless`, too. See [Tags](tags.md).",
    ),
    words(
        "moving_tags",
        "TAG",
        "A tag besides, at the newest of the releases: '{{ line }}' at that of each line, latest at that of all.",
        "It never goes back to an older release: see [Moving tags](nightly.md#moving-tags).",
    ),
)

HOW = (
    Option(
        name="timeout",
        metavar="SECONDS",
        kind="seconds",
        help=f"Give up on a host that has not answered for this long; {DEFAULT_TIMEOUT} by default.",
        more="A registry, a mirror, a token service. Bytes that move count as an answer, however slowly. It also bounds the "
        "waits between tries.",
    ),
)

CACHE = (
    word(
        "cache_keep",
        "AGE",
        "After a push, remove from the cache what was not used for this long, such as 30d.",
        "What a run that is at work uses stays. See [The cache](cache.md).",
    ),
    word(
        "cache_max_size",
        "SIZE",
        "After a push, remove from the cache what is more than this, such as 20GB.",
        "The longest unused goes first. See [The cache](cache.md).",
    ),
)

RETENTION = (
    words(
        "retain_tags",
        "PATTERN",
        "Which tags `retain` is about, such as '*-2[0-9][0-9][0-9]*': no other one is touched.",
        "As a shell has them, over the whole tag without the variant behind it. See [Old tags](retain.md).",
    ),
    Option(
        name="retain",
        metavar="N",
        kind="count",
        help="How many releases `retain` keeps of each pattern, the newest.",
        more="A release is a tag with its variants, in all images of a hub. See [Old tags](retain.md).",
    ),
)

OUTPUTS = (
    word(
        "report",
        "DIR",
        "Write a page on this run into this directory (index.html), and report.json beside it.",
        "Relative to this file; earlier runs stay there: see [Reports](report.md).",
    ),
    word(
        "report_url",
        "URL",
        "Where people find the directory of --report, for notifications.",
        "The page of the run is linked below it.",
    ),
    word("trace", "FILE", "Write the tasks of this run as a trace, for Perfetto.", "Relative to this file."),
    word(
        "metrics",
        "FILE",
        "Write metrics of this run, for Prometheus' node exporter.",
        "Relative to this file; a file of its own for each job: see [Metrics](report.md#metrics).",
    ),
    Option(
        name="notify",
        metavar="URL",
        kind="words",
        help="Whom to tell how a run ended, as a URL of apprise's, or $NAME of a variable that holds one.",
        more="Such URLs are secrets, so this file takes only `$NAME`: see [Notifications](report.md#notifications).",
    ),
    Option(
        name="notify_on",
        choices=("change", "failure", "always"),
        help="When to tell; change (by default) is also failure.",
    ),
)

OPTIONS = (*WHERE, *TAGS, *SOURCE, *LOCK, *WHAT, *GO, *HOW, *CACHE, *RETENTION, *OUTPUTS)

# What each is about, in the order in which people ask.
THEMES = (
    ("Where", WHERE),
    ("What", WHAT),
    ("Tags", TAGS),
    ("Source", SOURCE),
    ("Lock", LOCK),
    ("Go", GO),
    ("How", HOW),
    ("Cache", CACHE),
    ("Retention", RETENTION),
    ("Outputs", OUTPUTS),
)


def find_option(name: str) -> Option:
    """The option of this name."""
    return next(option for option in OPTIONS if option.name == name)
