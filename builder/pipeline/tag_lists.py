"""Which tags stand in repositories, asked side by side."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from builder.errors import AccessDenied
from builder.oci.reference import Repository
from builder.ports import Registry

_PARALLEL = 8


def list_all_tags(repositories: Sequence[Repository], registry: Registry) -> dict[Repository, tuple[str, ...] | None]:
    """The tags of each, None where they may not be listed. Raises AccessDenied where that is so of all, and RegistryError."""

    def ask(repository: Repository) -> tuple[str, ...] | AccessDenied:
        try:
            return registry.list_tags(repository)
        except AccessDenied as error:
            # Docker Hub refuses what it does not have, as if it were somebody's secret.
            return error

    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        answers = dict(zip(repositories, pool.map(ask, repositories), strict=True))
    denied = [answer for answer in answers.values() if isinstance(answer, AccessDenied)]
    if denied and len(denied) == len(answers):
        raise denied[0]
    return {repository: answer if isinstance(answer, tuple) else None for repository, answer in answers.items()}
