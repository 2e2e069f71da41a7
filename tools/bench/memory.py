"""Phase `memory`: how much istio-build itself has in memory at most while it packs and pushes a large program."""

import sys

from tools.bench.blobs import write_blob
from tools.bench.contestants import environment, settings
from tools.bench.process import run
from tools.bench.results import ENGINES
from tools.bench.work import PushCheck, Site, Work, say

SIZES = (10, 200, 1000)


def measure_memory(site: Site, work: Work, sizes: tuple[int, ...] = SIZES) -> dict[str, dict[str, int]]:
    """Bytes, by engine and by size of the program that stands in for Envoy, on both platforms. Each is a new program."""
    peaks: dict[str, dict[str, int]] = {engine: {} for engine in ENGINES}
    for megabytes in sizes:
        for engine in ENGINES:
            peaks[engine][f"{megabytes} MB"] = _measure(site, work, engine, megabytes)
            site.registry.reset()
    return peaks


def _measure(site: Site, work: Work, engine: str, megabytes: int) -> int:
    say(["memory:", engine, "with", f"{megabytes} MB"])
    folder = site.scratch / "blobs"
    blobs = [
        f"{platform}={write_blob(folder / platform.replace('/', '_'), platform.partition('/')[2], megabytes)}"
        for platform in work.platforms
    ]
    hub = f"{site.registry.host}/{work.name}/{engine}"
    words = [word for blob in blobs for word in ("--envoy", blob)]
    peak = site.scratch / "peak"
    peak.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "tools.bench.peak", str(peak), "push", "--engine", engine]
    run([*argv, *settings(site, site.source, hub, work), *words], environment(site, work))
    PushCheck().check(f"istio-build with {engine}", hub, work, is_new=False)
    return int(peak.read_text())
