"""Give up a store that does not respond any more, within a minute.

botocore waits a minute for each response and sends a request up to five times; the AWS Common
Runtime repeats it for three minutes. That one response takes long is no reason to give up, as some
requests do. Therefore a small request through a new connection decides whether it is worth waiting.
"""

from __future__ import annotations

import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.utils import get_environ_proxies

# Longest time without a response, and then for the small request: together less than a minute.
RESPONSE_SECONDS = 45
PROBE_SECONDS = 12


def is_silent(url: str) -> bool:
    """Return whether a store does not answer a small request in time.

    Any answer counts, also an error, a closed connection or one that is refused. Where requests go
    through a proxy, the result is False.

    Parameters
    ----------
    url
        Address of the store; its path is not used.
    """
    if get_environ_proxies(url):
        return False
    connection = _connection_to(url)
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except TimeoutError:
        return True
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return False


def _connection_to(url: str) -> HTTPConnection:
    address = urlsplit(url)
    if address.scheme == "http":
        return HTTPConnection(address.netloc, timeout=PROBE_SECONDS)
    # Only whether the store answers matters, so any certificate is accepted.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(address.netloc, timeout=PROBE_SECONDS, context=context)


class SilenceWatch:
    """Check during a wait whether the store still responds; for one thread.

    Parameters
    ----------
    url
        Address of the store.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._since = monotonic()

    def check(self) -> None:
        """Do nothing until a response takes too long.

        Raises
        ------
        botocore.exceptions.ReadTimeoutError
            If the store does not answer another request either.
        """
        if monotonic() - self._since < RESPONSE_SECONDS:
            return
        if is_silent(self._url):
            raise ReadTimeoutError(endpoint_url=self._url)
        self._since = monotonic()


def stop_retries_if_silent(events: Any) -> None:
    """Make a client of boto3 send no request again to a store that does not respond.

    Parameters
    ----------
    events
        Events of the client.
    """
    events.register_first("needs-retry.s3", _raise_if_silent)


def allow_retries_if_silent(events: Any) -> None:
    """Undo `stop_retries_if_silent`, if it was called."""
    events.unregister("needs-retry.s3", _raise_if_silent)


def _raise_if_silent(
    request_dict: dict[str, Any], caught_exception: Exception | None, **_: Any
) -> None:
    is_timeout = isinstance(caught_exception, (ReadTimeoutError, ConnectTimeoutError))
    if caught_exception and is_timeout and is_silent(request_dict["url"]):
        raise caught_exception
