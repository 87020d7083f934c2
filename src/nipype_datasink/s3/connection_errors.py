"""Explain why a store cannot be reached: its name, its port, time-outs, and TLS."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from nipype_datasink.s3.endpoint import AWS_HOST

# Results of OpenSSL's verification of a certificate.
# https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/#error-codes
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)

# OpenSSL's reasons for "the response is not TLS"; they differ between its versions.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "PACKET_LENGTH")
_NO_RESPONSE: dict[type[Exception], str] = {
    ReadTimeoutError: (
        "accepts connections but did not respond in time; check s3_endpoint_url, and whether the "
        "store works"
    ),
    ConnectTimeoutError: (
        "did not accept a connection in time; check s3_endpoint_url, the network, firewalls and "
        "proxies"
    ),
    ConnectionClosedError: (
        "closed the connection without a complete response; run again, and set a smaller "
        "s3_max_concurrency if this happens again"
    ),
}
_BUNDLE_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


def explain_connection(error: BaseException) -> str | None:
    """Return in plain words why there was no response, and what to try; None for other errors."""
    address = _address_of(error)
    if isinstance(error, SSLError):
        return _explain_missing_bundle() or _explain_tls(error, address)
    for kind, text in _NO_RESPONSE.items():
        if isinstance(error, kind):
            return f"{address} {text}"
    if isinstance(error, ProxyConnectionError):
        return f"{error}; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    if isinstance(error, EndpointConnectionError):
        return _explain_refused(error, address)
    return None


def _explain_refused(error: EndpointConnectionError, address: str) -> str:
    if _find(error, socket.gaierror):
        host = urlsplit(address).hostname or ""
        setting = "s3_region" if AWS_HOST.search(host) else "s3_endpoint_url"
        return f"the host name {host!r} is not known; check {setting} and the network"
    if _find(error, ConnectionRefusedError):
        return (
            f"nothing accepts connections at {address}; check s3_endpoint_url (host and port), "
            "and whether the store runs"
        )
    return f"{error}; check s3_endpoint_url, the network and proxies"


def _explain_tls(error: SSLError, address: str) -> str:
    for cause in chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _explain_certificate(cause, address)
        if type(cause).__name__ == "CertificateError":  # urllib3's; its module has moved
            return _explain_other_name(str(cause), address)
    if any(reason in str(error).upper() for reason in _NOT_TLS):
        return (
            f"{address} does not use TLS; set s3_endpoint_url to "
            f"{address.replace('https://', 'http://', 1)!r}"
        )
    return f"no TLS connection to {address}: {_reason(error)}; check s3_endpoint_url and proxies"


def _explain_certificate(error: ssl.SSLCertVerificationError, address: str) -> str:
    why = error.verify_message
    if error.verify_code in _OTHER_NAME:
        return _explain_other_name(why, address)
    if error.verify_code == _EXPIRED:
        return (
            f"the certificate of {address} has expired; its administrator must renew it. If it is "
            "valid, the clock of this machine is wrong"
        )
    if error.verify_code == _NOT_YET_VALID:
        return f"the certificate of {address} is not valid yet; check the clock of this machine"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return f"the certificate of {address} is from an unknown authority ({why}); {_bundle()}"
    return f"the certificate of {address} is not valid: {why}; ask its administrator"


def _explain_other_name(why: str, address: str) -> str:
    return (
        f"the certificate of {address} is for another name ({why}); write the host name that is "
        "in the certificate into s3_endpoint_url"
    )


def _bundle() -> str:
    """Return what to do where the authority of a certificate is not known."""
    for name in _BUNDLE_VARIABLES:
        if path := os.environ.get(name):
            return f"the file in {name}, {path!r}, must contain the authority's certificate"
    return "set AWS_CA_BUNDLE to a file with the authority's certificate"


def _explain_missing_bundle() -> str | None:
    """Explain that a file of certificates does not exist: botocore does not name it."""
    for name in _BUNDLE_VARIABLES:
        if (path := os.environ.get(name)) and not os.path.exists(path):
            return f"{name} is {path!r}, which does not exist; set it to a file of certificates"
    return None


def _address_of(error: BaseException) -> str:
    """Return scheme, host and port of the endpoint, without the rest of the request's address."""
    url = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}" if url.netloc else "the endpoint"


def _reason(error: BaseException) -> str:
    """Return the text of the innermost cause: botocore's own text has the whole address."""
    return str(list(chain(error))[-1])


def _find(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    return next((each for each in chain(error) if isinstance(each, kind)), None)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything that caused it; urllib3 keeps some causes in arguments."""
    waiting: list[Any] = [error]
    seen: list[BaseException] = []
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            yield each
            waiting += [*each.args, each.__cause__, each.__context__]
