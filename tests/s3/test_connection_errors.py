"""Errors of connections are explained with what to do; the rest of an address is not shown."""

from __future__ import annotations

import socket
import ssl

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from nipype_datasink.s3.connection_errors import explain_connection

URL = "https://me:hidden@minio.lab:9000/mybucket?list-type=2&X-Amz-Signature=hidden"


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the certificates of this machine."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)


def explain(error: Exception, cause: BaseException | None = None) -> str:
    error.__context__ = cause
    text = explain_connection(error)
    assert text
    assert "hidden" not in text
    assert "mybucket" not in text
    return text


def certificate_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (9, "is not valid yet; check the clock of this machine"),
        (10, "has expired; its administrator must renew it"),
        (18, "is from an unknown authority (why); set AWS_CA_BUNDLE to a file"),
        (20, "is from an unknown authority (why); set AWS_CA_BUNDLE to a file"),
        (23, "is not valid: why; ask its administrator"),
        (62, "is for another name (why); write the host name"),
        (64, "is for another name (why); write the host name"),
    ],
)
def test_certificates(code: int, text: str) -> None:
    error = SSLError(endpoint_url=URL, error=RuntimeError())
    wanted = f"the certificate of https://minio.lab:9000 {text}"
    assert explain(error, certificate_error(code, "why")).startswith(wanted)


def test_a_bundle_without_the_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", __file__)
    error = SSLError(endpoint_url=URL, error=RuntimeError())
    text = explain(error, certificate_error(20, "why"))
    assert f"the file in AWS_CA_BUNDLE, {__file__!r}, must contain" in text


def test_a_bundle_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/ca.pem")
    error = SSLError(endpoint_url=URL, error=FileNotFoundError(2, "No such file"))
    assert explain(error).startswith("AWS_CA_BUNDLE is '/nowhere/ca.pem', which does not exist")


def test_another_failure_of_tls() -> None:
    error = SSLError(endpoint_url=URL, error=RuntimeError())
    cause = ssl.SSLError(1, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] old")
    assert explain(error, cause).startswith("no TLS connection to https://minio.lab:9000: ")


def test_a_store_without_tls() -> None:
    error = SSLError(endpoint_url=URL, error=ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"))
    assert explain(error).endswith(
        "does not use TLS; set s3_endpoint_url to 'http://minio.lab:9000'"
    )


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (socket.gaierror(-2, "unknown"), "the host name 'minio.lab' is not known"),
        (ConnectionRefusedError(), "nothing accepts connections at https://minio.lab:9000"),
    ],
)
def test_refused_connections(cause: Exception, text: str) -> None:
    assert explain(EndpointConnectionError(endpoint_url=URL), cause).startswith(text)


def test_a_refused_connection_without_a_cause() -> None:
    error = EndpointConnectionError(endpoint_url="https://minio.lab:9000")
    assert explain(error).endswith("check s3_endpoint_url, the network and proxies")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ReadTimeoutError, "accepts connections but did not respond in time"),
        (ConnectTimeoutError, "did not accept a connection in time"),
        (ConnectionClosedError, "closed the connection without a complete response; run again"),
    ],
)
def test_connections_without_a_response(kind: type[Exception], text: str) -> None:
    error = kind(endpoint_url=URL)  # type: ignore[call-arg]
    assert explain(error).startswith(f"https://minio.lab:9000 {text}")


def test_a_proxy_that_cannot_be_reached() -> None:
    error = ProxyConnectionError(proxy_url="http://proxy.lab:3128")
    assert "http://proxy.lab:3128" in explain(error)
    assert "check HTTPS_PROXY" in explain(error)


def test_other_errors_are_not_explained() -> None:
    assert explain_connection(ClientError({}, "PutObject")) is None
    assert explain_connection(OSError()) is None
