"""The list of a repository's tags: distribution-spec v1.1, "Listing Tags"."""

from functools import partial

from builder.errors import RegistryError
from builder.oci.reference import Repository, is_tag
from builder.registry.auth import pull_scope
from builder.registry.checks import check_document
from builder.registry.connection import Call
from builder.registry.connections import RegistryConnections
from builder.registry.response import Answer, next_page
from builder.runtime.json_document import object_of, parse_json, texts_of
from builder.runtime.retry import RetryPolicy

# How many are asked for at once; a registry may send fewer and name a next page, and some send all at once.
_PAGE = 1000
_MOST_PAGES = 500
_MOST_TAGS = 100_000
_LARGEST_PAGE = 4 * 1024 * 1024


def list_tags(connections: RegistryConnections, retry: RetryPolicy, repository: Repository) -> tuple[str, ...]:
    """See `ports.TagLister.list_tags`. What could be no tag is left out. Raises RegistryError, also for a list without an end:
    who decides by what is newest must not be given a part of it."""
    found: dict[str, None] = {}
    url = f"{repository.path}/tags/list?n={_PAGE}"
    for _ in range(_MOST_PAGES):
        call = Call(
            act=f"list the tags of {repository}",
            method="GET",
            url=url,
            scopes=pull_scope(repository),
            headers={"Accept": "application/json"},
            limit=_LARGEST_PAGE,
        )
        answer = retry.run(partial(connections.send, repository, call, accept=(200, 404)))
        if answer.status == 404:
            return () if answer.says_not_found else connections.refuse(repository, call, answer)
        check_document(call.act, answer, _LARGEST_PAGE)
        found |= dict.fromkeys(tag for tag in _read(call.act, answer) if is_tag(tag))
        url = next_page(answer)
        if not url:
            return tuple(found)
        if len(found) > _MOST_TAGS:
            break
    raise RegistryError(f"cannot list the tags of {repository}: the list has no end", hint="What answers at this address?")


def _read(act: str, answer: Answer) -> tuple[str, ...]:
    try:
        return texts_of(object_of(parse_json(answer.content)).get("tags"))
    except ValueError as error:
        raise RegistryError(
            f"cannot {act}: what came is no list of tags: {error}",
            hint="Is there a registry at this address?",
            status=answer.status,
            damaged=True,
        ) from error
