"""Runs what a CronJob would: its container by `docker run`, as its pod says, with volumes as a kubelet makes them.

What a manifest says and nothing here knows fails the test, so that no part of a pod is left out unnoticed. Needs root, as a
kubelet does.
"""

import base64
import os
import stat
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.real.program import Ended

# What a container has of its own, whatever is mounted: Docker writes these for each.
_DOCKERS_OWN = {"/.dockerenv", "/dev", "/etc", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/sys"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnded(Ended):
    """How the container ended, and what in it is not as it was in the image, volumes left out."""

    changed: tuple[str, ...]


class CronJob:
    """The objects of a manifest, on a node that keeps claims and Secrets below a directory.

    `secrets` has the content of each by name and key.
    """

    def __init__(self, manifest: str, node: Path, secrets: Mapping[str, Mapping[str, bytes]]) -> None:
        self._objects = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(manifest)}
        self._node = node
        self._secrets = secrets
        [job] = [each for (kind, _), each in self._objects.items() if kind == "CronJob"]
        self._pod: dict[str, Any] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]

    def claim(self, name: str) -> Path:
        """Where the node keeps what is in a claim."""
        assert ("PersistentVolumeClaim", name) in self._objects
        return self._node / "claims" / name

    def run(self, platform: str, timeout: float = 600) -> PodEnded:
        """One night, with the network of the node's host."""
        name = f"istio-build-{uuid.uuid4().hex[:12]}"
        argv = ["docker", "run", "--name", name, "--network", "host", "--platform", platform, *self._words()]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
            difference = subprocess.run(["docker", "diff", name], capture_output=True, text=True, check=True).stdout
        finally:
            subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)
        changed = {line.partition(" ")[2] for line in difference.splitlines()} - _DOCKERS_OWN - self._mount_points()
        return PodEnded(code=done.returncode, stdout=done.stdout, stderr=done.stderr, changed=tuple(sorted(changed)))

    def _mount_points(self) -> set[str]:
        """Docker makes them where the image has none."""
        [container] = self._pod["containers"]
        return {mount["mountPath"] for mount in container["volumeMounts"]}

    def _words(self) -> list[str]:
        """The pod and its container, as words of `docker run`."""
        pod = _known(
            self._pod,
            *("restartPolicy", "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks"),
            *("terminationGracePeriodSeconds", "securityContext", "containers", "volumes"),
        )
        # So there is no token in it, and no variable of other services.
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"], pod["restartPolicy"]) == (False, False, "Never")
        assert ("ServiceAccount", pod["serviceAccountName"]) in self._objects
        [container] = pod["containers"]
        # How much it may take is the scheduler's business, and not the image's.
        _known(container, "name", "image", "command", "args", "env", "resources", "securityContext", "volumeMounts")
        [entry_point] = container["command"]
        return [
            *("--stop-timeout", str(pod["terminationGracePeriodSeconds"]), "--entrypoint", entry_point),
            *_identity(pod["securityContext"]),
            *_confinement(container["securityContext"]),
            *(word for variable in container["env"] for word in ("--env", _assignment(variable))),
            *self._mounts(container["volumeMounts"]),
            container["image"],
            *container["args"],
        ]

    def _mounts(self, mounts: Sequence[dict[str, Any]]) -> Iterator[str]:
        group = self._pod["securityContext"]["fsGroup"]
        volumes = {volume["name"]: volume for volume in self._pod["volumes"]}
        assert {mount["name"] for mount in mounts} == set(volumes)
        for mount in mounts:
            _known(mount, "name", "mountPath", "readOnly")
            volume = volumes[mount["name"]]
            [kind] = _known(volume, "name", "persistentVolumeClaim", "emptyDir", "configMap", "secret").keys() - {"name"}
            if kind == "emptyDir":
                size = _known(volume[kind], "sizeLimit")["sizeLimit"].removesuffix("i").lower()
                # Of a kubelet's it can be said that programs in it may be started.
                yield from ("--tmpfs", f"{mount['mountPath']}:exec,size={size},mode=2777,gid={group}")
                continue
            place = self._provide(kind, volume[kind])
            _give_to_group(place, group, writable=kind == "persistentVolumeClaim")
            yield from ("--volume", f"{place}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}")

    def _provide(self, kind: str, volume: Mapping[str, Any]) -> Path:
        if kind == "persistentVolumeClaim":
            place = self.claim(_known(volume, "claimName")["claimName"])
            place.mkdir(parents=True, exist_ok=True)
            return place
        if kind == "secret":
            name = _known(volume, "secretName", "items")["secretName"]
            values = self._secrets[name]
        else:
            name = _known(volume, "name", "items")["name"]
            config_map = self._objects["ConfigMap", name]
            values = {key: text.encode() for key, text in config_map.get("data", {}).items()}
            values |= {key: base64.b64decode(text) for key, text in config_map.get("binaryData", {}).items()}
        files = {_known(item, "key", "path")["path"]: values[item["key"]] for item in volume["items"]}
        return _project(files, self._node / kind / uuid.uuid4().hex)


def _known(section: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The section, which has nothing but these."""
    unknown = section.keys() - set(names)
    assert not unknown, f"the manifest says {', '.join(sorted(unknown))}, and nothing here knows what that does"
    return section


def _assignment(variable: Mapping[str, Any]) -> str:
    _known(variable, "name", "value")
    return f"{variable['name']}={variable['value']}"


def _identity(context: Mapping[str, Any]) -> list[str]:
    _known(context, "runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile")
    # That of the runtime is what Docker gives a container that asks for none.
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (context["runAsNonRoot"], context["fsGroupChangePolicy"]) == (True, "OnRootMismatch")
    assert context["runAsUser"] != 0
    return ["--user", f"{context['runAsUser']}:{context['runAsGroup']}", "--group-add", str(context["fsGroup"])]


def _confinement(context: Mapping[str, Any]) -> list[str]:
    _known(context, "allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities")
    dropped = _known(context["capabilities"], "drop")["drop"]
    words = [word for name in dropped for word in ("--cap-drop", name)]
    words += [] if context["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
    return [*words, *(["--read-only"] if context["readOnlyRootFilesystem"] else [])]


def _project(files: Mapping[str, bytes], into: Path) -> Path:
    """Files of a ConfigMap or Secret as a kubelet lays them out, to be exchanged at once: what is seen are links.

    https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter
    """
    version = into / "..2026_02_28_03_17_00.1"
    for name, content in files.items():
        path = version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (into / "..data").symlink_to(version.name)
    for name in {name.partition("/")[0] for name in files}:
        (into / name).symlink_to(f"..data/{name}")
    return into


def _give_to_group(place: Path, group: int, *, writable: bool) -> None:
    """As `fsGroup` says, of what is there, unless the volume has it already (`OnRootMismatch`).

    https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
    """
    if place.stat().st_gid == group:
        return
    for path in (place, *place.rglob("*")):
        os.chown(path, -1, group, follow_symlinks=False)
        if path.is_symlink():
            continue
        more = 0o660 if writable else 0o440
        path.chmod(stat.S_IMODE(path.stat().st_mode) | more | (stat.S_ISGID | 0o110 if path.is_dir() else 0))
