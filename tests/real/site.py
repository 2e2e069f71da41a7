"""A hub at a real registry, and users who start istio-build there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from builder.oci.manifest import INDEX
from tests.real.program import Ended, istio_build
from tests.samples.releases import TAGS, write_release


class Site:
    """Two releases lie here, `one` and `two`, to be pushed; `environment` is what all runs have besides.

    `asking` is what `requests` has to know to ask the registry itself. `said` is all that was ever printed.
    """

    def __init__(
        self, host: str, work: Path, environment: Mapping[str, str] | None = None, asking: Mapping[str, Any] | None = None
    ) -> None:
        self.host, self.work = host, work
        self.hub = f"{host}/istio"
        self.said = ""
        self._environment = environment or {}
        self._asking = asking or {}
        for name in ("one", "two"):
            write_release(work / name, self.hub, name)

    def run(self, *words: str | Path, cache: str = "cache", **environment: str) -> Ended:
        """Start it, with a cache of its own for each user."""
        places = {"ISTIO_BUILD_CACHE": str(self.work / cache), "HOME": str(self.work)}
        ended = istio_build(*words, env={**places, **self._environment, **environment}, cwd=self.work, timeout=100)
        self.said += ended.stdout + ended.stderr
        return ended

    def push(self, name: str, *more: str, **environment: str) -> Ended:
        """Push one of the two."""
        return self.run("push", "--from", self.work / name, "--output-format", "json", *more, **environment)

    def tags(self, hub: str = "istio", names: Mapping[str, tuple[str, ...]] = TAGS) -> dict[str, str]:
        """The digest of each of these tags that is there, by the registry's own word."""
        found = {}
        scheme = "https" if "verify" in self._asking else "http"
        for image, tags in names.items():
            for tag in tags:
                url = f"{scheme}://{self.host}/v2/{hub}/{image}/manifests/{tag}"
                answer = requests.get(url, headers={"Accept": INDEX}, timeout=30, **self._asking)
                if answer.ok:
                    found[f"{image}:{tag}"] = answer.headers["Docker-Content-Digest"]
        return found

    def shows(self, secret: str) -> list[str]:
        """Where a text that nobody is to see can be seen: in what was printed, or in a file that a run has written."""
        written = [path for path in self.work.glob("cache*/**/*") if path.is_file()]
        places = [str(path) for path in written if secret.encode() in path.read_bytes()]
        return [*(["what was printed"] if secret in self.said else []), *places]


def digests_by_tag(ended: Ended) -> dict[str, str]:
    """What a run that went well says of each tag."""
    images: list[dict[str, Any]] = ended.report()["images"]
    return {str(name).rpartition("/")[2]: image["digest"] for image in images for name in image["references"]}


def tags_named(before: str, after: str) -> dict[str, tuple[str, ...]]:
    """The tags of a release with another name."""
    return {image: tuple(tag.replace(before, after) for tag in tags) for image, tags in TAGS.items()}
