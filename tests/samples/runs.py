"""Runs as they are recorded: one that went well, one that failed, one of whom everybody said what they liked."""

from dataclasses import replace

from builder.errors import Outcome
from builder.oci.reference import Hub
from builder.pipeline.report import ImageReport, MovedTag, PlatformReport, Report
from builder.publish.publication import Traffic
from builder.publish.reasons import Reason
from builder.report.record import (
    RecordedArtifact,
    RecordedError,
    RecordedInputs,
    RecordedMessage,
    RecordedTask,
    ReleaseRecord,
    RunRecord,
)
from tests.samples.images import AMD64, ARM64, make_digest

HUB = Hub.parse("registry.corp.example/istio")
HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}</style><img src=x onerror=y>\u202egnp.exe\x1b[31m"


def make_image(name: str, *tags: str, state: str = "built", reasons: tuple[str, ...] = ()) -> ImageReport:
    """An image for both platforms; its digests come of its name."""
    image, _, _ = name.rpartition("-")
    return ImageReport(
        key=name,
        references=tuple(HUB.repository(image).at(tag) for tag in tags),
        digest=make_digest(name),
        platforms=(
            PlatformReport(platform=AMD64, digest=make_digest(f"{name} amd64"), size=38_900_000),
            PlatformReport(platform=ARM64, digest=make_digest(f"{name} arm64"), size=36_200_000),
        ),
        state=state,
        reasons=tuple(Reason(kind="other", text=text) for text in reasons),
    )


def make_task(stage: str, subject: str, began: float, ended: float, outcome: str = "", state: str = "done") -> RecordedTask:
    """A task from one second to another."""
    assert state in ("done", "failed", "cut off")
    return RecordedTask(stage=stage, subject=subject, began=began, ended=ended, outcome=outcome, state=state)  # type: ignore[arg-type]


TASKS = (
    make_task("resolve", "source, bases, artifacts, Go", 0.0, 2.4, "commit 328ca463872f"),
    make_task("look", "6 images at the hub", 2.4, 3.1, "2 unchanged"),
    make_task("fetch", "envoy linux/amd64", 3.1, 16.2, "fetched"),
    make_task("fetch", "envoy linux/arm64", 3.1, 16.9, "fetched"),
    make_task("compile", "istioctl, pilot-discovery linux/amd64", 3.2, 74.0),
    make_task("compile", "istioctl, pilot-discovery linux/arm64", 3.2, 78.3),
    make_task("compile", "pilot-agent linux/amd64", 3.2, 31.0),
    make_task("compile", "pilot-agent linux/arm64", 3.2, 33.4),
    make_task("assemble", "proxyv2 linux/amd64", 31.2, 44.0),
    make_task("assemble", "proxyv2 linux/arm64", 33.6, 47.1),
    make_task("assemble", "istioctl linux/amd64", 74.1, 77.7),
    make_task("assemble", "pilot linux/amd64", 74.1, 78.9),
    make_task("assemble", "istioctl linux/arm64", 78.5, 82.0),
    make_task("assemble", "pilot linux/arm64", 78.5, 82.8),
    make_task("push", f"{HUB}/proxyv2 linux/amd64", 44.1, 61.0, "6 blobs sent"),
    make_task("push", f"{HUB}/proxyv2 linux/arm64", 47.2, 66.5, "5 blobs sent"),
    make_task("push", f"{HUB}/istioctl", 82.9, 91.5, "6 blobs sent"),
    make_task("push", f"{HUB}/pilot", 82.9, 90.2, "6 blobs sent"),
    make_task("verify", "6 images", 91.6, 93.0),
    make_task("tag", "9 tags", 93.0, 93.4),
    make_task("verify", "9 tags", 93.4, 93.9),
)

INPUTS = RecordedInputs(
    commit="328ca463872f6c3a8de02f3e7be25b1b6c9b2f11",
    go="1.25.9",
    go_reason="go.mod says 1.25.9",
    compile_image="",
    compression="gzip",
    bases=(
        ("base", f"docker.io/istio/base@{make_digest('base')}"),
        ("distroless", f"docker.io/istio/distroless@{make_digest('distroless')}"),
    ),
    mirrors=(("agentgateway", f"cr.agentgateway.dev/agentgateway@{make_digest('agentgateway')}"),),
    artifacts=tuple(
        RecordedArtifact(
            name="envoy",
            platform=f"linux/{machine}",
            location=f"https://storage.googleapis.com/istio-build/proxy/envoy-alpha-50c73beaed934536017c84120b9a466c3ff903cf{more}",
            sha256=make_digest(machine).hex,
        )
        for machine, more in (("amd64", ".tar.gz"), ("arm64", "-arm64.tar.gz"))
    ),
)

REPORT = Report(
    version="1.29.0",
    builder_version="0.9.1",
    hub=str(HUB),
    images=(
        make_image("istioctl-debug", "1.29.0", "1.29.0-debug", reasons=("Go 1.25.8 → 1.25.9",)),
        make_image("istioctl-distroless", "1.29.0-distroless", state="unchanged"),
        make_image("pilot-debug", "1.29.0", "1.29.0-debug", reasons=("Go 1.25.8 → 1.25.9", "the hub lost linux/arm64")),
        make_image("pilot-distroless", "1.29.0-distroless", state="unchanged"),
        make_image(
            "proxyv2-debug",
            "1.29.0",
            "1.29.0-debug",
            reasons=(f"base image base moved from {make_digest('old base')} to {make_digest('base')}",),
        ),
        make_image("agentgateway-debug", "1.29.0", state="mirrored"),
    ),
    traffic=Traffic(uploaded=23, mounted=8, present=12, bytes_sent=231_400_000, tags_moved=9),
    stages=(("compile", 75.1), ("push", 42.0)),
    seconds=93.9,
)

GOOD_RUN = RunRecord(
    id="1a2b3c4d",
    command="push",
    tool="istio-build 0.9.1",
    began="2026-03-01T03:00:07Z",
    seconds=94.0,
    hubs=(str(HUB),),
    releases=(ReleaseRecord(version="1.29.0", hub=str(HUB), inputs=INPUTS, report=REPORT),),
    tasks=TASKS,
    messages=(
        RecordedMessage(level="note", text="go: downloading go1.25.9", at=1.0),
        RecordedMessage(level="warning", text="istio has changes that are not committed; the version stamp says so.", at=2.4),
        RecordedMessage(
            level="note",
            text=f"https://{HUB.registry}/v2/istio/pilot/blobs/uploads/: HTTP 503; trying again in 1.4 s",
            at=85.0,
            retry=True,
        ),
    ),
    before={
        f"{HUB}/istioctl:1.29.0": str(make_digest("old istioctl")),
        f"{HUB}/istioctl:1.29.0-distroless": str(make_digest("istioctl-distroless")),
        f"{HUB}/pilot:1.29.0": str(make_digest("old pilot")),
        f"{HUB}/pilot:1.29.0-distroless": str(make_digest("pilot-distroless")),
        f"{HUB}/proxyv2:1.29.0": str(make_digest("old proxyv2")),
    },
)

FAILED_RUN = RunRecord(
    id="5e6f7081",
    command="push",
    tool="istio-build 0.9.1",
    began="2026-03-02T03:00:05Z",
    seconds=41.7,
    hubs=(str(HUB),),
    releases=(ReleaseRecord(version="1.29.0", hub=str(HUB), inputs=INPUTS),),
    tasks=(
        *TASKS[:4],
        make_task("compile", "pilot-agent linux/amd64", 3.2, 31.0),
        make_task("compile", "istioctl, pilot-discovery linux/amd64", 3.2, 40.0, state="failed"),
        make_task("assemble", "proxyv2 linux/amd64", 31.2, 41.7, state="cut off"),
    ),
    messages=(RecordedMessage(level="note", text="HTTP 503; trying again in 1.4 s", at=12.0, retry=True),),
    error=RecordedError(
        message="1 of 6 images could not be built:\n  pilot-debug linux/amd64: go build failed\n"
        "pilot/cmd/pilot-discovery/main.go:17:2: undefined: app.NewRootCommand\nNo tag has moved.",
        hint="The compiler's own words are above; the others need not be made again.",
        exit_code=7,
        ledger=(
            Outcome(image="pilot-debug", platform="linux/amd64", state="failed", error="go build failed: undefined: app.New"),
            Outcome(image="pilot-debug", platform="linux/arm64", state="built"),
            Outcome(image="istioctl-debug", platform="linux/amd64", state="unchanged"),
        ),
    ),
)

_MOVED = make_image("pilot-debug", "1.29.1", "1.29", "latest", reasons=("commit 328ca463872f → 0123456789ab",))
_SAME = make_image("pilot-debug", "1.28.0", "1.28", state="unchanged")

# A night: a patch has come out, somebody has moved a tag of the line before it, one line is as it was, and one fails.
NIGHT_RUN = RunRecord(
    id="70819203",
    command="nightly",
    tool="istio-build 0.9.1",
    began="2026-03-04T03:00:06Z",
    seconds=94.0,
    hubs=(str(HUB),),
    releases=(
        ReleaseRecord(
            version="1.29.1",
            hub=str(HUB),
            inputs=INPUTS,
            report=replace(
                REPORT,
                version="1.29.1",
                images=(
                    replace(
                        _MOVED,
                        moved=tuple(
                            MovedTag(reference=reference, before=None if reference.tag == "1.29.1" else make_digest("old pilot"))
                            for reference in _MOVED.references
                        ),
                    ),
                ),
                traffic=Traffic(uploaded=2, tags_moved=3),
            ),
        ),
        ReleaseRecord(
            version="1.28.0",
            hub=str(HUB),
            inputs=INPUTS,
            report=replace(
                REPORT,
                version="1.28.0",
                images=(
                    replace(_SAME, moved=(MovedTag(reference=_SAME.references[1], before=make_digest("another")),)),
                    make_image("istioctl-debug", "1.28.0", "1.28", state="unchanged"),
                ),
                traffic=Traffic(tags_moved=1),
            ),
        ),
        ReleaseRecord(
            version="1.27.0",
            hub=str(HUB),
            inputs=INPUTS,
            report=replace(
                REPORT,
                version="1.27.0",
                images=(make_image("pilot-debug", "1.27.0", state="unchanged"),),
                traffic=Traffic(),
            ),
        ),
        ReleaseRecord(version="1.26.0", hub="", error=RecordedError(message="no such release", hint="Look.", exit_code=4)),
    ),
    tasks=TASKS,
    error=RecordedError(message="1 of 4 releases failed:\n1.26.0: no such release", hint="Look.", exit_code=28),
)

HOSTILE_RUN = RunRecord(
    id="0badc0de",
    command="push",
    tool="istio-build 0.9.1",
    began="2026-03-03T03:00:05Z",
    seconds=1.0,
    hubs=(HOSTILE,),
    releases=(
        ReleaseRecord(
            version=HOSTILE,
            hub=HOSTILE,
            inputs=RecordedInputs(
                commit=HOSTILE,
                go=HOSTILE,
                go_reason=HOSTILE,
                compile_image=HOSTILE,
                compression=HOSTILE,
                bases=((HOSTILE, HOSTILE),),
                mirrors=((HOSTILE, HOSTILE),),
                artifacts=(RecordedArtifact(name=HOSTILE, platform=HOSTILE, location=HOSTILE, sha256=HOSTILE),),
            ),
            report=Report(
                version=HOSTILE,
                builder_version=HOSTILE,
                hub=HOSTILE,
                images=(make_image("pilot-debug", "1.29.0", reasons=(HOSTILE,)),),
                traffic=None,
                stages=(),
                seconds=1.0,
            ),
            error=RecordedError(message=HOSTILE, hint=HOSTILE, exit_code=1),
        ),
    ),
    tasks=(make_task(HOSTILE, HOSTILE, 0.0, 1.0, HOSTILE), make_task("push", "x" * 4000, 0.0, 1.0, "y" * 4000)),
    messages=(
        RecordedMessage(level="warning", text=HOSTILE, at=0.5),
        RecordedMessage(level="note", text=HOSTILE, at=0.5, retry=True),
    ),
    error=RecordedError(
        message=f"{HOSTILE}\n{'z' * 4000}",
        hint=HOSTILE,
        exit_code=13,
        ledger=(Outcome(image=HOSTILE, platform=HOSTILE, state=HOSTILE, error=HOSTILE),),
    ),
    before={"x": HOSTILE},
)
