"""Sends short messages through apprise, which knows some hundred services, webhooks and mail among them.

Its addresses are secrets: none of them is printed or logged, whatever happens. It is an extra of ours, and imported late.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.config.outputs import variable_in
from builder.errors import BuilderError, RequestError

if TYPE_CHECKING:
    from apprise import NotifyBase

_LIST = "https://appriseit.com/services/ lists them, such as slack://…, msteams://…, mailto://…, json://HOST/PATH."


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Somebody to tell; `name` tells them apart without saying who they are."""

    name: str
    plugin: "NotifyBase"

    def send(self, title: str, body: str, failed: bool) -> None:
        """Send a message. Raises BuilderError where it was not taken."""
        from apprise import NotifyFormat, NotifyType

        kind = NotifyType.FAILURE if failed else NotifyType.SUCCESS
        try:
            with _silence():
                sent = self.plugin.notify(title=title, body=body, notify_type=kind, body_format=NotifyFormat.TEXT)
        except Exception as error:
            # Of a hundred services written by others: whatever it says may have the address in it.
            raise BuilderError(f"{type(error).__name__}") from None
        if not sent:
            raise BuilderError("it did not take the message, or did not answer")


def open_services(addresses: Sequence[str], environment: Mapping[str, str]) -> tuple[Service, ...]:
    """Those who are to be told. Nothing is sent.

    Raises RequestError where a variable is not set, where apprise is not installed, or does not know what an address is.
    """
    texts = [_address(number, address, environment) for number, address in enumerate(addresses, start=1)]
    try:
        from apprise import Apprise, AppriseAsset
    except ImportError as error:
        raise RequestError("--notify needs apprise, which is not installed", hint="pip install 'istio-build[notify]'") from error
    # It logs addresses, and what has no handler goes to stderr.
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [logging.NullHandler()], False
    asset = AppriseAsset(app_id="istio-build", app_desc="istio-build", app_url="", async_mode=False)
    services = []
    for number, text in enumerate(texts, start=1):
        with _silence():
            plugin = Apprise.instantiate(text, asset=asset, suppress_exceptions=True)
        if plugin is None:
            raise RequestError(f"{_name(number)} of --notify is none that apprise knows, or it is malformed", hint=_LIST)
        services.append(Service(name=f"{_name(number)} of --notify", plugin=plugin))
    return tuple(services)


def _address(number: int, address: str, environment: Mapping[str, str]) -> str:
    variable = variable_in(address)
    if not variable:
        return address
    if not environment.get(variable):
        raise RequestError(f"{_name(number)} of --notify is in the variable {variable}, which is not set", hint="Set it.")
    return environment[variable]


@contextmanager
def _silence() -> Iterator[None]:
    """What its hundred services warn of is for their authors, or about certificates of addresses that nobody is to see."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _name(number: int) -> str:
    return f"address {number}"
