"""Shows what verifying a hub found: as a table, as JSON (docs/schemas/verify.json), as JUnit's XML. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from builder import __version__
from builder.cli.screen import ENDLESS, Screen
from builder.oci.reference import Platform
from builder.runtime.text import counted, format_size, printable
from builder.verify.compare import Comparison
from builder.verify.findings import Finding, Remedies, fix_hint
from builder.verify.look import PlatformLook
from builder.verify.verification import Verification, VerifiedImage

# Of the form of the JSON. It changes where a program that reads it has to.
SCHEMA_VERSION = 1
_HEADINGS = ("IMAGE", "PLATFORM", "DIGEST", "SIZE", "RESULT")


def verify_table(verification: Verification, release: str, screen: Screen = ENDLESS, *, fix: bool) -> str:
    """A line for each image and platform, then what is wrong, then how much of it there is."""
    rows = [_HEADINGS, *(row for image in verification.images for row in _rows(image))]
    lines = screen.table([tuple(printable(cell) for cell in row) for row in rows])
    told = [line for image in verification.images for line in _finding_lines(image, release, screen, fix=fix)]
    compared = [part for line in _comparison_lines(verification) for part in screen.fold(line)]
    parts = [lines, told, compared, [f"{_summary_text(verification)}."]]
    return "\n\n".join("\n".join(part) for part in parts if part)


def verify_json(verification: Verification, release: str) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": f"istio-build {__version__}",
        "release": release,
        "ok": not verification.faults and not verification.failures,
        "summary": _counts(verification),
        "images": [_image_json(image, release) for image in verification.images],
    }


def verify_junit(verification: Verification, release: str) -> str:
    """A test case for each image and platform, which fails with what is wrong there."""
    root = ElementTree.Element("testsuites", name="istio-build verify")
    for image in verification.images:
        cases = [(name, findings) for name, findings in _cases(image)]
        failed = sum(1 for _, findings in cases if any(finding.severity == "error" for finding in findings))
        suite = ElementTree.SubElement(
            root, "testsuite", name=printable(_name(image)), tests=str(len(cases)), failures=str(failed), errors="0", skipped="0"
        )
        for name, findings in cases:
            case = ElementTree.SubElement(suite, "testcase", classname=printable(_name(image)), name=name)
            for finding in findings:
                text = printable(finding.message)
                hint = printable(fix_hint(finding, _remedies(image, release)))
                if finding.severity == "error":
                    node = ElementTree.SubElement(case, "failure", type=finding.kind, message=text)
                    node.text = hint
                else:
                    ElementTree.SubElement(case, "system-out").text = f"{finding.kind}: {text}"
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def verify_verdict(verification: Verification) -> str:
    """What is wrong, in a sentence; "" where nothing is."""
    wrong = sum(1 for image in verification.images if any(_is_fault(finding) for finding in image.findings))
    faults, images = counted(len(verification.faults), "fault"), counted(len(verification.images), "image")
    return f"{faults} in {wrong} of {images}" if wrong else ""


def _is_fault(finding: Finding) -> bool:
    return finding.severity == "error" and finding.kind != "unreadable"


def _name(image: VerifiedImage) -> str:
    """The first tag, and the others that are the same image."""
    first, *others = image.references
    return "".join((str(first), *(f" = {other.tag or other.digest}" for other in others)))


def _platforms(image: VerifiedImage) -> list[Platform]:
    return list(image.wanted.platforms) or [look.platform for look in image.platforms]


def _rows(image: VerifiedImage) -> Iterator[tuple[str, ...]]:
    name = _name(image)
    if not image.digest:
        yield name, "-", "-", "-", ", ".join(finding.kind for finding in image.findings)
        return
    looks = {look.platform: look for look in image.platforms}
    for platform in _platforms(image):
        look = looks.get(platform)
        kinds = Counter(finding.kind for finding in image.findings_on(platform))
        started = any(entry.platform == platform for entry in image.started)
        result = ", ".join(kinds) or ("ok, started" if started else "ok")
        yield name, str(platform), look.manifest.digest.short if look else "-", format_size(look.size) if look else "-", result
        name = ""


def _finding_lines(image: VerifiedImage, release: str, screen: Screen, *, fix: bool) -> Iterator[str]:
    for finding in image.findings:
        where = f" {finding.platform}" if finding.platform else ""
        yield from screen.fold(printable(f"{finding.severity}: {finding.kind}: {finding.reference}{where}: {finding.message}"))
        hint = fix_hint(finding, _remedies(image, release)) if fix else ""
        if hint:
            # A command to be copied, so it is never broken in two.
            line = printable(f"  mend it: {hint}")
            yield from [line] if not screen.width or len(line) <= screen.width else ["  mend it:", printable(f"    {hint}")]


def _comparison_lines(verification: Verification) -> Iterator[str]:
    compared = [image.comparison for image in verification.images if image.comparison]
    if not compared:
        return
    states = Counter(comparison.state for comparison in compared)
    hub = str(compared[0].other.repository).rpartition("/")[0]
    yield f"Beside {hub}: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}."
    for comparison in compared:
        for difference in comparison.differences:
            yield printable(f"  {comparison.reference}: {difference}")
    # Of a place that does not answer it is the same for all.
    reason = next((comparison.reason for comparison in compared if comparison.reason), "")
    if reason:
        yield printable(f"  not compared: {reason}")


def _counts(verification: Verification) -> dict[str, int]:
    findings = verification.findings
    return {
        "images": len(verification.images),
        "platforms": sum(len(image.platforms) for image in verification.images),
        "faults": len(verification.faults),
        "warnings": sum(1 for finding in findings if finding.severity == "warning"),
        "unreadable": sum(1 for finding in findings if finding.kind == "unreadable"),
    }


def _summary_text(verification: Verification) -> str:
    counts = _counts(verification)
    parts = [counted(counts["images"], "image"), counted(counts["faults"], "fault"), counted(counts["warnings"], "warning")]
    if counts["unreadable"]:
        parts.append(f"{counts['unreadable']} unreadable")
    return ", ".join(parts)


def _cases(image: VerifiedImage) -> Iterator[tuple[str, list[Finding]]]:
    """What is of the whole image belongs to the first platform, so that it is counted once."""
    general = [finding for finding in image.findings if not finding.platform]
    platforms = [str(platform) for platform in _platforms(image)]
    for number, platform in enumerate(platforms):
        own = [finding for finding in image.findings if finding.platform == platform]
        yield platform, [*(general if number == 0 else ()), *own]
    rest = [finding for finding in image.findings if finding.platform and finding.platform not in platforms]
    if rest:
        yield "other entries", rest


def _remedies(image: VerifiedImage, release: str) -> Remedies:
    expected, original = image.wanted.expected, image.wanted.original
    if not expected:
        return Remedies()
    versions = expected.versions or (release,)
    return Remedies(
        release=release,
        image=expected.image,
        variant=expected.variant,
        tag=versions[0],
        original=str(original) if original else "",
    )


def _image_json(image: VerifiedImage, release: str) -> dict[str, Any]:
    expected = image.wanted.expected
    return {
        "references": [str(reference) for reference in image.references],
        "image": expected.image if expected else "",
        "variant": expected.variant if expected else "",
        "digest": image.digest,
        "wanted_platforms": [str(platform) for platform in image.wanted.platforms],
        "platforms": [_platform_json(image, look) for look in image.platforms],
        "findings": [_finding_json(finding, image, release) for finding in image.findings],
        "comparison": _comparison_json(image.comparison) if image.comparison else None,
    }


def _platform_json(image: VerifiedImage, look: PlatformLook) -> dict[str, Any]:
    programs = (fact for fact in image.programs if fact.platform == look.platform)
    started = (started for started in image.started if started.platform == look.platform)
    return {
        "platform": str(look.platform),
        "digest": str(look.manifest.digest),
        "size": look.size,
        "layers": [str(layer.digest) for layer in look.manifest.layers()],
        "programs": [
            {"path": fact.path, "go": fact.go, "package": fact.package, "version": fact.version, "hub": fact.hub}
            for fact in programs
        ],
        "started": [{"command": list(entry.argv), "output": entry.output} for entry in started],
    }


def _finding_json(finding: Finding, image: VerifiedImage, release: str) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "reference": str(finding.reference),
        "platform": finding.platform,
        "message": finding.message,
        "paths": list(finding.paths),
        "fix": fix_hint(finding, _remedies(image, release)),
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "with": str(comparison.other),
        "state": comparison.state,
        "differences": list(comparison.differences),
        "reason": comparison.reason,
    }
