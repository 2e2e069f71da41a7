"""`make demo`: Istio's three images from the sample tree, built from an empty directory, pushed, pulled and started.

It needs no root and no Docker, and starts neither. Where Docker answers, the other engine builds the same, the digests are
compared, and the images are run on both platforms. All it starts runs on loopback and ends with it.
"""

import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from builder.errors import BuilderError
from builder.images.pull import pull
from builder.oci.reference import SUPPORTED_PLATFORMS, ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tools.demo.ground import ROOT, Ground, base_settings, prepared
from tools.demo.in_docker import run_in_docker, why_no_docker
from tools.demo.pulled import ISTIOCTL, NATIVE, CannotRun, UnpackedImage, foreign, questions
from tools.parts import NotProvided


def main() -> None:
    """Run all of it. Exits with a sentence where something is not as it should be."""
    state = Path(os.environ.get("ISTIO_BUILD_STATE") or ROOT / ".state").absolute()
    with tempfile.TemporaryDirectory(prefix="istio-build-demo-", ignore_cleanup_errors=True) as work:
        try:
            with prepared(state, Path(work)) as ground:
                _show(ground)
        except (BuilderError, CannotRun, NotProvided) as error:
            sys.exit(f"demo: {error}")
        except KeyboardInterrupt:
            sys.exit(130)


def _show(ground: Ground) -> None:
    _title("Base images for both platforms, of packages, without Docker, root or emulation")
    settings = (
        *("push", "--source", str(ground.source), "--hub", f"{ground.registry}/istio", "--tag", "1.29.0"),
        *base_settings(ground),
        *("--envoy-url", ground.envoy_url),
    )
    _title("The main job, from an empty directory, by ourselves")
    pushed = _timed(ground, *settings, "--engine", "builtin", cache="builtin")
    references = unique(pushed)
    _title("Each image, pulled by digest: every program's ELF header; this machine's are started")
    _look_at(references, ground.work / "pulled")
    _title("The same again")
    _timed(ground, *settings, "--engine", "builtin", cache="builtin")
    unavailable = why_no_docker(os.environ)
    if unavailable:
        print(f"\nDocker takes no part: {unavailable}. Where it answers, `make demo` shows that it builds the same digests.")
        return
    _title("The main job, from an empty directory, by Docker's buildx")
    compare(pushed, _timed(ground, *settings, "--engine", "buildx", "--rebuild", cache="buildx"))
    _title("Each image, run by Docker on each platform")
    run_in_docker(references, os.environ)


def _timed(ground: Ground, *words: str, cache: str) -> list[str]:
    before = time.monotonic()
    pushed = ground.istio_build(*words, cache=cache)
    print("\n".join(pushed))
    print(f"{time.monotonic() - before:.1f} s")
    return pushed


def unique(pushed: Sequence[str]) -> list[ImageReference]:
    """One reference for each digest, as several tags may lead to one image."""
    return [ImageReference.parse(line) for line in {line.partition("@")[2]: line for line in reversed(pushed)}.values()][::-1]


def compare(ours: Sequence[str], theirs: Sequence[str]) -> None:
    """Say that both engines gave the same references and digests; end the demo where they did not."""
    if ours != theirs:
        different = sorted({*ours} ^ {*theirs})
        sys.exit("demo: the engines differ:\n" + "\n".join(different))
    print(f"\nBoth engines gave the same digests: {len(ours)} tags, {len(unique(ours))} images.")


def _look_at(references: Sequence[ImageReference], work: Path) -> None:
    registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=time.sleep))
    for reference in references:
        pulled = pull(reference, registry)
        if pulled.problems or {str(part.platform) for part in pulled.platforms} != {*SUPPORTED_PLATFORMS}:
            sys.exit(f"demo: {reference} is not what a puller needs: {pulled.problems or 'a platform is missing'}")
        print(f"\n{reference}")
        for part in pulled.platforms:
            image = UnpackedImage(reference.repository, part, registry, work)
            _check_and_start(image)
            image.remove()


def _check_and_start(image: UnpackedImage) -> None:
    programs = image.programs()
    for program in foreign(image):
        sys.exit(f"demo: {program.path} on {image.platform} is a program for {program.architecture}")
    own = [program.path for program in programs if program.path.startswith("/usr/local/bin/")]
    others = len(programs) - len(own)
    print(f"  {image.platform}: ELF headers all say {image.platform.architecture}: {', '.join(own)}, {others} of the base")
    if image.platform != NATIVE:
        return
    for path, words in questions(image.entrypoint, own):
        print(f"    $ {' '.join((path.rpartition('/')[2], *words))}\n      " + image.run(path, *words).replace("\n", "\n      "))
    if ISTIOCTL in own:
        print("    $ istioctl manifest generate: what it installs, from the hub that it was built for")
        installed = image.run(ISTIOCTL, "manifest", "generate")
        print("\n".join(f"      {line.strip()}" for line in installed.splitlines() if re.search(r"hub:|tag:|image:", line)))


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    main()
