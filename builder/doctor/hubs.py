"""Checks of the hubs: may we push, is anybody else at it; and of how other machines are reached."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

from builder.doctor.case import Case
from builder.doctor.examine import Check
from builder.doctor.finding import Finding, failed, ok, skipped, warning
from builder.doctor.probes import Probes
from builder.errors import AccessDenied, BuilderError, RegistryError
from builder.oci.reference import Hub, Repository, redact_url
from builder.publish.hub_record import HubRecord, read_record, record_reference

_PARALLEL = 4
# A lease at a hub is believed by clocks that differ by ten minutes at most.
_WRONG_CLOCK, _ODD_CLOCK = 600.0, 60.0


def hub_checks(case: Case) -> Iterator[Check]:
    """All that apply to this case."""
    yield Check(name="proxies", subject="", look=partial(_proxies, case))
    if not case.request.hubs:
        yield Check(name="push", subject="", look=lambda _: skipped("no hub was given", "--hub docker.io/me names one."))
    for hub, repositories in case.repositories:
        yield Check(name="push", subject=str(hub), look=partial(_push, hub, repositories))
        yield Check(name="lease", subject=str(hub), look=partial(_lease, repositories))
    for host, repository in {hub.registry: repositories[0] for hub, repositories in case.repositories if repositories}.items():
        yield Check(name="clock", subject=host, look=partial(_clock, repository))


def _proxies(case: Case, probes: Probes) -> Finding:
    """Which hosts are asked through which proxy."""
    hosts = {hub.registry: f"https://{_api(hub.registry)}/" for hub in case.request.hubs}
    urls = [case.job.source.url, *(url for _, url in case.request.artifact_urls)]
    hosts |= {place.partition("/")[0]: url for url in urls if (place := redact_url(url).partition("://")[2])}
    through: dict[str, list[str]] = {}
    for host, url in hosts.items():
        through.setdefault(probes.hosts.proxy_for(url), []).append(host)
    direct = through.pop("", [])
    if not through:
        return ok(f"none: {', '.join(direct)} directly" if direct else "none")
    told = [f"{proxy} for {', '.join(names)}" for proxy, names in through.items()]
    return ok("; ".join([*told, *([f"{', '.join(direct)} directly"] if direct else [])]))


def _api(registry: str) -> str:
    return "registry-1.docker.io" if registry == "docker.io" else registry


def _push(hub: Hub, repositories: Sequence[Repository], probes: Probes) -> Finding:
    """An upload is begun in each repository, and cancelled."""
    logged_in = probes.hosts.has_login(hub.registry)
    who = "with the credentials that Docker's configuration has" if logged_in else "without credentials: it has none"
    try:
        with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
            list(pool.map(probes.registry.check_push, repositories))
    except AccessDenied as error:
        mend = error.hint if logged_in else f"`docker login {hub.registry}`"
        return failed(f"{error.message} ({who})", "no tag can be moved there", mend)
    except RegistryError as error:
        return failed(error.message, "no tag can be moved there", error.hint)
    return ok(f"it takes pushes to {', '.join(one.path.rpartition('/')[2] for one in repositories)}, {who}")


def _lease(repositories: Sequence[Repository], probes: Probes) -> Finding:
    """Who moves tags there, by the records that runs leave in each repository."""

    def read(repository: Repository) -> HubRecord:
        reference = record_reference(repository)
        found = probes.registry.get_manifest(reference)
        return read_record(reference, found) if found else HubRecord()

    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        records = dict(zip(repositories, pool.map(read, repositories), strict=True))
    now = datetime.now(UTC)
    for repository, record in records.items():
        if record.lease and record.lease.expires > now:
            owner, since = record.lease.owner, record.lease.started.strftime("%H:%M:%S UTC")
            told = f"{owner} moves tags in {repository} since {since}; its lease expires at {record.lease.expires:%H:%M:%S UTC}"
            return warning(told, "a push waits until it has ended, for three minutes at most")
    left = [str(repository) for repository, record in records.items() if not record.is_idle]
    if left:
        return warning(f"a run that died left its record in {', '.join(left)}", "the next push settles that first")
    return ok("nobody is moving tags there")


def _clock(repository: Repository, probes: Probes) -> Finding:
    """By the Date of an answer, whatever it is."""
    trouble: BuilderError | None = None
    try:
        probes.registry.get_manifest(record_reference(repository))
    except BuilderError as error:
        trouble = error
    ahead = probes.hosts.clock_ahead(repository)
    if ahead is None:
        why = f": {trouble.message}" if trouble else ""
        return skipped(f"{repository.registry} does not tell the time{why}")
    told = f"this machine is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} {repository.registry}"
    mend = "Set the clock: `timedatectl set-ntp true`."
    if abs(ahead) > _WRONG_CLOCK:
        return failed(told, "certificates and tokens seem to be from another time, and leases at the hub are misread", mend)
    if abs(ahead) > _ODD_CLOCK:
        return warning(told, "tokens may seem to expire too early or too late", mend)
    return ok(told if abs(ahead) >= 1 else f"it agrees with that of {repository.registry}")
