"""What can be wrong with an image at a hub: each kind has a name that stays, a weight, and a way to mend it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from builder.oci.reference import ImageReference, Platform

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of finding: whether it makes the hub wrong, what it means, and which remedy mends it."""

    severity: Severity
    meaning: str
    remedy: Literal["push", "copy", "login", "install", "none"] = "push"


# The names are read by programs: they stay as they are.
KINDS: Mapping[str, Kind] = {
    "missing-image": Kind(severity="warning", meaning="the hub has no tag of an image that was not asked for by name"),
    "missing-tag": Kind(severity="error", meaning="the tag does not exist"),
    "unreadable": Kind(severity="error", meaning="the registry failed or refused us: nothing can be said", remedy="login"),
    "missing-platform": Kind(severity="error", meaning="a wanted platform is not there: its nodes cannot pull", remedy="copy"),
    "wrong-platform": Kind(severity="error", meaning="the index says another platform than the image itself", remedy="copy"),
    "wrong-variant": Kind(severity="error", meaning="the platform is listed for CPUs that not every node has", remedy="copy"),
    "duplicate-platform": Kind(severity="error", meaning="the index lists a platform twice: which one is pulled depends"),
    "nested-index": Kind(severity="warning", meaning="an index within an index, which not every runtime can read"),
    "dangling-manifest": Kind(severity="error", meaning="the index lists a manifest that is not there", remedy="copy"),
    "corrupt-manifest": Kind(severity="error", meaning="a manifest or configuration cannot be read", remedy="copy"),
    "not-an-image": Kind(severity="error", meaning="the reference is something else than an image for containers", remedy="none"),
    "missing-blob": Kind(severity="error", meaning="a configuration or layer is not there", remedy="copy"),
    "corrupt-blob": Kind(severity="error", meaning="a blob is cut short, altered, or no layer", remedy="copy"),
    "wrong-diff-id": Kind(severity="error", meaning="a layer is not the one that the configuration names: pulls fail"),
    "foreign-layer": Kind(
        severity="warning", meaning="a layer is to be had elsewhere only, and was not looked at", remedy="none"
    ),
    "wrong-architecture": Kind(severity="error", meaning="programs for another machine: exec format error"),
    "same-program": Kind(severity="error", meaning="two platforms hold the very same program"),
    "wrong-user": Kind(severity="error", meaning="USER is not what the recipe says"),
    "wrong-entrypoint": Kind(severity="error", meaning="ENTRYPOINT or CMD is not what the recipe says"),
    "wrong-workdir": Kind(severity="error", meaning="WORKDIR is not what the recipe says"),
    "wrong-env": Kind(severity="error", meaning="a variable is missing, or not what the recipe says"),
    "wrong-label": Kind(severity="warning", meaning="a label is not what the recipe says"),
    "missing-file": Kind(severity="error", meaning="a file of the recipe is not in the image"),
    "wrong-mode": Kind(severity="error", meaning="a file of the recipe is not of its kind and mode"),
    "wrong-version": Kind(severity="error", meaning="a program is stamped with another version"),
    "wrong-program": Kind(severity="error", meaning="a program was built from another package, or for another system"),
    "other-hub": Kind(
        severity="warning", meaning="istioctl is stamped with another hub, and installs from there", remedy="install"
    ),
    "hubs-differ": Kind(severity="error", meaning="the same tag is another image at another of the hubs", remedy="copy"),
    "tags-differ": Kind(severity="warning", meaning="two tags of one variant are not the same image"),
    "does-not-start": Kind(severity="error", meaning="a program was started and failed (--run)"),
    "not-started": Kind(
        severity="warning", meaning="a program could not be started here, so nothing is known (--run)", remedy="none"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, of which reference and platform ("" where it is of all). Texts may be the registry's own."""

    kind: str
    reference: ImageReference
    message: str
    platform: str = ""
    paths: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """`error` where the hub is wrong; `warning` where it should be known."""
        return KINDS[self.kind].severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """What a command that mends needs to know: the release and the original of this image, "" where it has none."""

    release: str = ""
    image: str = ""
    variant: str = ""
    tag: str = ""
    original: str = ""


def fix_hint(finding: Finding, known: Remedies) -> str:
    """The command that mends a finding, "" where none does."""
    target = finding.reference
    hub = str(target.repository).rpartition("/")[0]
    copy = f"crane copy {known.original or 'SOURCE'} {target.repository}:{target.tag or 'TAG'}"
    remedy = KINDS[finding.kind].remedy
    if remedy == "login":
        return f"docker login {target.repository.registry}"
    if remedy == "install" and known.tag:
        return f"istioctl install --set hub={hub} --set tag={known.tag}"
    if (remedy == "copy" and known.original) or (remedy in ("copy", "push") and not known.release):
        return copy
    if remedy not in ("copy", "push"):
        return ""
    variant = f" --variant {known.variant}" if known.variant else ""
    tag = f" --tag {known.tag}" if known.tag != known.release else ""
    # What is not there is built anyway; what is there may have been made of the same inputs.
    anew = "" if finding.kind in ("missing-tag", "missing-image") else " --rebuild"
    return f"istio-build push --hub {hub} --istio {known.release}{tag} --image {known.image}{variant}{anew}"


def name_paths(paths: Iterable[str]) -> str:
    """The first few, and how many more."""
    found = tuple(paths)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{', '.join(found[:3])}{more}"


def name_platform(platform: Platform | None) -> str:
    """For messages and rows; an entry of an index need not have one."""
    return str(platform) if platform else ""
