"""All that commands print for people, of one release at a hub with a long name: each a text for a screen."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from builder.cache.entry import Entry, Kind, Survey
from builder.cache.prune import Pruned
from builder.cli.availability_view import support_table
from builder.cli.cache_view import pruned_text, survey_table
from builder.cli.comparison_view import comparison_table
from builder.cli.doctor_view import doctor_table
from builder.cli.history_view import history_table, rollback_table
from builder.cli.lock_view import lock_text
from builder.cli.plan_view import plan_table
from builder.cli.report_view import report_text
from builder.cli.retain_view import retain_table
from builder.cli.screen import Screen
from builder.cli.verify_view import verify_table
from builder.config.merged import Setting
from builder.doctor.finding import Checked, failed, ok, warning
from builder.oci.manifest import MANIFEST, ImageConfig, Manifest
from builder.oci.reference import Hub
from builder.pipeline.comparison import ComparedImage, Comparison, TagMove
from builder.pipeline.history import Past
from builder.pipeline.locking import MadeLock
from builder.pipeline.retain import Retained
from builder.publish.history import Happening, History, HistoryEntry, HistoryImage
from builder.publish.reasons import Reason
from builder.publish.retention import TagThere, Verdict
from builder.publish.timeline import Way, find_way, join_histories
from builder.recipe.availability import find_support
from builder.resolve.lock_changes import LockChange
from builder.verify.findings import Finding
from builder.verify.look import PlatformLook
from builder.verify.verification import Verification, VerifiedImage, Wanted
from tests.samples.images import AMD64, ARM64, make_digest
from tests.samples.plans import built_in, make_lock, make_sample_plan
from tests.samples.runs import REPORT

HUB = Hub.parse("registry.corp.example/platform/istio")
NOW = datetime(2026, 3, 1, 3, 17, tzinfo=UTC)
SETTINGS = (
    Setting(name="hub", value=str(HUB), origin="--hub"),
    Setting(name="source", value=".", origin="the working directory is Istio's source"),
    Setting(name="platform", value="linux/amd64, linux/arm64", origin="default"),
)
CHECKED = (
    Checked(name="git", subject="", finding=ok("git 2.39.5"), seconds=0.01),
    Checked(
        name="push",
        subject=f"{HUB}/proxyv2",
        finding=failed(
            "the registry answered 403 to a POST that begins an upload, as user robot$nightly, whom it knows",
            "no image can be sent there, and no tag can move",
            "log in as somebody who may: `docker login registry.corp.example --username robot-with-the-right-to-push`",
        ),
        seconds=0.2,
    ),
    Checked(
        name="disk",
        subject="/x",
        finding=warning("1.0 GB free", "a first build may not fit", "`istio-build cache prune`"),
        seconds=0,
    ),
)
ENTRIES = (
    Entry(kind=Kind.SOURCE, path="sources/1.29.0", size=431_000_000, used=NOW.timestamp() - 90000, about="Istio 1.29.0"),
    Entry(
        kind=Kind.DOWNLOAD,
        path=f"downloads/{make_digest('envoy').hex}",
        size=43_700_000,
        used=NOW.timestamp(),
        about=f"envoy-alpha-{'fedcba98' * 5}-arm64.tar.gz",
    ),
    Entry(kind=Kind.LOOK, path="looks/ab", size=1200, used=NOW.timestamp()),
)


def comparison() -> Comparison:
    """One image that would be built, and a push that would be refused."""
    reason = Reason(kind="base", text=f"base image base moved from {make_digest('old base')} to {make_digest('base')}")
    tags = ("1.29.0", "1.29.0-debug")
    moves = tuple(TagMove(reference=HUB.repository("proxyv2").at(tag), before=make_digest("x"), after=None) for tag in tags)
    images = (
        ComparedImage(key="proxyv2-debug", state="built", reasons=(reason,), moves=moves),
        ComparedImage(key="pilot-distroless", state="unchanged", reasons=(), moves=()),
    )
    refused = f"{HUB}/proxyv2:1.29.0 is at an image of linux/amd64 and linux/arm64; this push has linux/arm64 alone"
    return Comparison(images=images, refused=refused, exit_code=18)


def past() -> Past:
    """Two releases of two images."""
    entries: dict[str, list[HistoryEntry]] = {}
    for release in "ab":
        happening = Happening(
            release=release * 12, time="2026-03-01T03:17:00Z", by="push", host="ci-runner-7", builder="0.1.0", back_to=""
        )
        for name in ("pilot", "proxyv2"):
            images = tuple(
                HistoryImage(key=f"{name}-{variant}", digest=make_digest(f"{release}{name}{variant}"), tags=tags)
                for variant, tags in (("debug", ("1.29.0", "1.29.0-debug")), ("distroless", ("1.29.0-distroless",)))
            )
            entry = HistoryEntry(
                happening=happening, version="1.29.0", commit="0" * 40, beside=("pilot", "proxyv2"), images=images
            )
            entries.setdefault(name, []).insert(0, entry)
    histories = {HUB.repository(name): History(entries=tuple(own)) for name, own in entries.items()}
    now = {
        HUB.repository(name).at(tag): image.digest
        for name, own in entries.items()
        for image in own[0].images
        for tag in image.tags
    }
    return Past(timeline=join_histories(histories, (), frozenset()), now=now, gone=frozenset())


def way() -> Way:
    """Back to the older one."""
    found = past()
    return find_way(found.timeline, found.timeline.of_tags(found.timeline.keys(), ("1.29.0",)), found.now, "")


def retained() -> Retained:
    """A tag that goes, and one that stays."""
    verdicts = tuple(
        Verdict(
            tag=TagThere(reference=HUB.repository("proxyv2").at(tag), digest=make_digest(tag), is_ours=True, time=NOW),
            release=tag,
            goes=goes,
            reason="older than the newest 14 of *-2[0-9][0-9][0-9]*" if goes else "of the newest 14 of *-2[0-9][0-9][0-9]*",
        )
        for tag, goes in (("1.29.0-20260214-distroless", True), ("1.29.0-20260301", False))
    )
    return Retained(verdicts=verdicts, others=3)


def verification() -> Verification:
    """An image that has lost a platform."""
    reference = HUB.repository("proxyv2").at("1.29.0-distroless")
    lost = Finding(
        kind="missing-platform",
        reference=reference,
        platform=str(ARM64),
        message=f"lost linux/arm64, which {make_digest('before')} had",
    )
    look = PlatformLook(
        platform=AMD64,
        reference=reference,
        manifest=Manifest(media_type=MANIFEST, content=b'{"schemaVersion": 2, "layers": []}'),
        config=ImageConfig(platform=AMD64),
        readable=(),
        whole=True,
    )
    image = VerifiedImage(
        references=(reference, HUB.repository("proxyv2").at("1.29-distroless")),
        wanted=Wanted(reference=reference, platforms=(AMD64, ARM64)),
        digest=str(make_digest("proxyv2")),
        platforms=(look,),
        findings=(lost,),
    )
    return Verification(images=(image,))


def made_lock() -> MadeLock:
    """One base that has moved."""
    changes = (
        LockChange(
            name="base",
            what="base base",
            before=str(make_digest("old base")),
            after=str(make_digest("base")),
            why="the tag docker.io/istio/base:1.29-2026-02-01T19-01-00 is at another image",
        ),
    )
    return MadeLock(
        path=Path("istio-build.lock"),
        tree=Path(),
        lock=make_lock(),
        plan=make_sample_plan(),
        text="",
        changes=changes,
        stale=True,
    )


VIEWS: Mapping[str, Callable[[Screen], str]] = {
    "push": lambda screen: report_text(replace(REPORT, hub=str(HUB)), screen, installable=True),
    "plan": lambda screen: plan_table(make_sample_plan(), SETTINGS, screen),
    "plan --against-hub": lambda screen: comparison_table(comparison(), screen),
    "list": lambda screen: support_table(find_support(built_in()), screen),
    "history": lambda screen: history_table(past(), (), screen),
    "rollback": lambda screen: rollback_table(way(), screen),
    "retain": lambda screen: retain_table(retained(), screen, done=False),
    "verify": lambda screen: verify_table(verification(), "1.29.0", screen, fix=True),
    "doctor": lambda screen: doctor_table(CHECKED, screen),
    "cache show": lambda screen: survey_table(
        Survey(entries=ENTRIES), Path("/root/.cache/istio-build"), 10**10, NOW.timestamp(), screen, everything=True
    ),
    "cache prune": lambda screen: pruned_text(
        Pruned(out=ENTRIES, in_use=ENTRIES[:1], stuck=(), left=10**9), NOW.timestamp(), 10**10, screen, dry_run=True
    ),
    "lock": lambda screen: lock_text(made_lock(), screen, written=True),
}
