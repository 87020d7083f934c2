"""What real stores refuse is found before any node runs, and nothing remains there."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.auth
import botocore.crt.auth
import pytest
from nipype import Function, Node, Workflow

from nipype_datasink import CheckReport, DataSink, check
from nipype_datasink.delivery.check_report import StepVerdict
from nipype_datasink.s3 import findings, probe
from nipype_datasink.s3.client import forget_clients
from nipype_datasink.s3.probe import MAX_REQUESTS
from tests.conftest import contents, tree
from tests.faultproxy import Fault, Faults, Proxy
from tests.integration.test_roles import ENCRYPTED_ONLY, wait_until_refused
from tests.stores import ACCESS_KEY, ROLES, SECRET_KEY
from tests.tls import behind_tls

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket


@pytest.fixture(autouse=True)
def nothing_remains(workdir: Path, bucket: Bucket, requests: Counter[str]) -> Iterator[None]:
    """Compare files, objects and incomplete uploads before and after each test."""
    bucket.put_object(Key="deriv/there", Body=b"before")
    forget_clients()
    requests.clear()
    yield
    assert sum(requests.values()) <= MAX_REQUESTS
    assert contents(bucket) == {"deriv/there": b"before"}
    listing = bucket.meta.client.list_multipart_uploads(Bucket=bucket.name)
    assert listing.get("Uploads", []) == []
    assert set(tree(workdir)) <= {"keys"}


def key_file(key: str, secret: str = SECRET_KEY) -> str:
    path = Path("keys").resolve()
    path.write_text(f"AWSAccessKeyId={key}\nAWSSecretKey={secret}\n")
    return str(path)


def never_run() -> str:
    raise AssertionError("a node has run")


def check_workflow(endpoint: str, *, write_object: bool = False, **inputs: Any) -> CheckReport:
    """Check a workflow whose node must not run."""
    workflow = Workflow("wf", base_dir=str(Path("work").resolve()))
    place = {"base_directory": "s3://mybucket/deriv", "s3_endpoint_url": endpoint}
    sink = Node(DataSink(**{**place, **inputs}), name="sink")
    workflow.connect(Node(Function(function=never_run), name="node"), "out", sink, "x")
    return check(workflow, write_object=write_object)


def failed(report: CheckReport) -> str:
    """Return name and advice of the only step that failed."""
    assert not report.ok
    (place,) = report.places
    (step,) = [step for step in place.steps if step.verdict is StepVerdict.FAILED]
    return f"{step.name}: {step.advice}"


def warned(report: CheckReport) -> list[str]:
    """Return the names of the steps with a warning, of a report without a failure."""
    assert report.ok, str(report)
    (place,) = report.places
    return [step.name for step in place.steps if step.verdict is StepVerdict.WARNING]


@pytest.mark.parametrize("write_object", [False, True])
def test_a_store_that_works(endpoint: str, write_object: bool) -> None:
    assert warned(check_workflow(endpoint, write_object=write_object)) == []


@pytest.mark.needs("AES256")
@pytest.mark.parametrize("write_object", [False, True])
def test_encryption_that_works(endpoint: str, write_object: bool) -> None:
    report = check_workflow(endpoint, write_object=write_object, encrypt_bucket_keys=True)
    assert warned(report) == []


@pytest.mark.parametrize("write_object", [False, True])
@pytest.mark.parametrize("key", ROLES)
def test_roles(endpoint: str, key: str, write_object: bool) -> None:
    allowed = ROLES[key]
    report = check_workflow(endpoint, write_object=write_object, creds_path=key_file(key))

    if "Write" not in allowed:
        wanted = "write: access is denied; the identity needs s3:PutObject on "
        assert failed(report).startswith(f"{wanted}arn:aws:s3:::mybucket/deriv/*")
        return
    steps = {step.name: step.advice for step in report.places[0].steps}
    assert ("s3:ListBucket" in steps["list"]) == ("List" not in allowed)
    if "s3:DeleteObject" in steps["write"]:  # radosgw has a permission of its own for this
        (place,) = report.places
        delete_left(endpoint, steps["write"])
        assert place.ok


def delete_left(endpoint: str, advice: str) -> None:
    """Delete the object that a report names."""
    import boto3

    key = advice.partition("the key '")[2].partition("'")[0]
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.delete_object(Bucket="mybucket", Key=key)


def test_an_unknown_access_key(endpoint: str) -> None:
    report = check_workflow(endpoint, creds_path=key_file("AKIDOFNOBODYATALL"))
    assert failed(report).startswith("identity: the access key is unknown")
    assert "AKID...ALL" in str(report)


def test_a_wrong_secret(endpoint: str) -> None:
    report = check_workflow(endpoint, creds_path=key_file(ACCESS_KEY, "wrong/secret+of/a+user"))
    assert failed(report).startswith("identity: the secret access key is wrong")
    assert "wrong/secret" not in f"{report}{report!r}{json.dumps(report.as_json())}"


def test_without_credentials(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    report = failed(check_workflow(endpoint))
    assert report.startswith("identity: access is denied, and no credentials were found")


def test_a_bucket_that_does_not_exist(endpoint: str) -> None:
    report = check_workflow(endpoint, base_directory="s3://nosuchbucket/deriv")
    assert failed(report).startswith("bucket: the bucket does not exist")


@pytest.mark.parametrize(("hours", "direction"), [(2, "ahead of"), (-2, "behind")])
def test_a_wrong_clock(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, hours: int, direction: str
) -> None:
    with monkeypatch.context() as patch:
        for module in (botocore.auth, botocore.crt.auth):  # without and with awscrt
            now: Callable[..., Any] = module.get_current_datetime
            patch.setattr(module, "get_current_datetime", partial(_shifted, now, hours))
        patch.setattr(findings, "now", partial(_shifted, findings.now, hours))
        report = failed(check_workflow(endpoint))
    assert report.startswith("clock: the clock of this machine is wrong; set it: it is ")
    assert f"{direction} the store's" in report


def _shifted(now: Callable[..., Any], hours: int, **arguments: Any) -> Any:
    return now(**arguments) + timedelta(hours=hours)


@contextmanager
def encrypted_only(bucket: Bucket) -> Iterator[None]:
    """Refuse objects without encryption."""
    client = bucket.meta.client
    client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(ENCRYPTED_ONLY))
    try:
        wait_until_refused(bucket)
        yield
    finally:
        client.delete_bucket_policy(Bucket=bucket.name)


@pytest.mark.needs("AES256")
@pytest.mark.parametrize("write_object", [False, True])
def test_a_policy_that_requires_encryption(
    bucket: Bucket, endpoint: str, requests: Counter[str], write_object: bool
) -> None:
    bucket.Object("deriv/there").delete()
    with encrypted_only(bucket):
        requests.clear()
        report = failed(check_workflow(endpoint, write_object=write_object))
        assert report.startswith("write: the bucket's policy requires encryption")
        assert "set encrypt_bucket_keys" in report
        assert sum(requests.values()) <= MAX_REQUESTS
        requests.clear()
        assert warned(check_workflow(endpoint, encrypt_bucket_keys=True)) == []
        assert sum(requests.values()) <= MAX_REQUESTS
    bucket.put_object(Key="deriv/there", Body=b"before")
    requests.clear()


# Addresses and TLS.


def test_a_closed_port() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        report = check_workflow(f"http://127.0.0.1:{server.getsockname()[1]}")
    assert failed(report).startswith("endpoint: nothing accepts connections at ")


def test_a_path_in_the_address(endpoint: str) -> None:
    report = check_workflow(f"{endpoint}/minio")
    assert failed(report).startswith("bucket: the bucket does not exist; check its name. Or the ")
    assert "'/minio'" in failed(report)


def test_tls_on_a_plain_port(endpoint: str) -> None:
    report = failed(check_workflow(endpoint.replace("http", "https")))
    assert report.startswith("endpoint: ")
    assert "TLS" in report


@pytest.mark.parametrize(
    ("options", "trusted", "finding"),
    [
        ({}, True, None),
        ({}, False, "is from an unknown authority"),
        ({"address": "127.0.0.2"}, True, "is for another name"),
        ({"until": timedelta(days=-1)}, True, "has expired"),
    ],
    ids=["good", "unknown authority", "other name", "expired"],
)
def test_certificates(
    *,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    trusted: bool,
    finding: str | None,
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with behind_tls(endpoint, **options) as (url, certificate):
        if trusted:
            monkeypatch.setenv("AWS_CA_BUNDLE", certificate)
        report = check_workflow(url)
        plain = check_workflow(url.replace("https", "http"))
    if finding:
        assert failed(report).startswith(f"endpoint: the certificate of {url} {finding}")
    else:
        assert warned(report) == []
    wanted = f"endpoint: the store uses TLS at this port; set s3_endpoint_url to {url!r}"
    assert failed(plain) == wanted


# A store that answers slowly, or not at all.


def test_a_store_that_hangs(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "READ_SECONDS", 0.5)
    proxy.set(Faults(kinds=(Fault.HANG,), pause=60))
    assert failed(check_workflow(proxy.address)).startswith(
        "endpoint: no response within 0.5 seconds"
    )


@pytest.mark.parametrize("operation", ["^GET", "^POST", "^DELETE"])
@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.SLOW_DOWN])
def test_a_single_fault_is_not_a_finding(proxy: Proxy, fault: Fault, operation: str) -> None:
    proxy.set(Faults(kinds=(fault,), only=operation, most=1))
    assert warned(check_workflow(proxy.address)) == []
    assert proxy.hits()[fault] == 1


def test_expired_credentials(proxy: Proxy) -> None:
    proxy.set(Faults(expires_after=0))
    report = failed(check_workflow(proxy.address))
    assert report.startswith("identity: the credentials have expired")


def test_another_region(proxy: Proxy) -> None:
    proxy.set(Faults(kinds=(Fault.WRONG_REGION,), most=1))
    report = check_workflow(proxy.address)
    assert warned(report) == ["region"]
    assert "set s3_region to 'eu-central-1'" in str(report)


@pytest.mark.parametrize("kind", [kind for kind in Fault if kind is not Fault.HANG])
def test_every_fault_ends_in_a_report(proxy: Proxy, kind: Fault) -> None:
    proxy.set(Faults(kinds=(kind,), only="^GET|^POST", pause=0.1))
    report = check_workflow(proxy.address)
    assert "would work: " in str(report)
