"""Objects are deleted in batches or one by one, and only confirmed deletions count."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from nipype_datasink import DataSink, Outcome, S3Error, Status
from nipype_datasink.delivery.progress import PhaseProgress
from nipype_datasink.delivery.progress_text import Amount
from nipype_datasink.s3 import deletion
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.concurrency import ConcurrencyEstimator
from nipype_datasink.s3.deletion import delete
from tests.s3.conftest import counting
from tests.s3.scripted_store import Reply, Request, Script, error_reply

KEYS = ["out/a", "out/b&c", "out/d"]
PAGE = "<html><body>Welcome</body></html>"


@pytest.fixture
def bucket(script: Script, credentials: None, monkeypatch: pytest.MonkeyPatch) -> BucketClient:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    opened = open_bucket("mybucket", ClientOptions(endpoint_url=script.url, region="us-east-1"))
    return BucketClient(client=opened.meta.client, name="mybucket", upload_args={})


def confirm(request: Request) -> Reply:
    """Respond to DeleteObjects as S3 does."""
    keys = re.findall("<Key>(.*?)</Key>", request.body.decode())
    deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
    return Reply(body=f"<DeleteResult>{deleted}</DeleteResult>")


def remaining(outcomes: list[Outcome]) -> dict[str, str]:
    return {item.transfer.key: str(item.cause) for item in outcomes}


def run(bucket: BucketClient, phase: PhaseProgress | None = None) -> dict[str, str]:
    outcomes = delete(
        bucket,
        KEYS,
        delivered=(),
        estimator=ConcurrencyEstimator(),
        before=lambda: None,
        phase=phase or counting(),
    )
    return remaining(outcomes)


def test_one_request_deletes_many_and_carries_content_md5(
    script: Script, bucket: BucketClient
) -> None:
    script.rule("DeleteObjects", confirm)
    assert run(bucket) == {}
    (request,) = script.requests
    digest = hashlib.md5(request.body).digest()
    assert request.headers["content-md5"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    "reply",
    [
        error_reply("MissingContentMD5", 400),
        error_reply("InvalidRequest", 400),
        error_reply("MalformedXML", 400),
        error_reply("MethodNotAllowed", 405),
        error_reply("NotImplemented", 501),
        Reply(404),
        Reply(501),
        Reply(body=PAGE),
        Reply(body="no XML"),
        Reply(),
        Reply(body="<DeleteResult/>"),
    ],
    ids=lambda reply: f"{reply.status} {reply.body[:24]}",
)
def test_keys_that_a_batch_does_not_delete_are_deleted_one_by_one(
    script: Script, bucket: BucketClient, reply: Reply
) -> None:
    script.answer("DeleteObjects", reply)
    phase = counting()
    assert run(bucket, phase) == {}
    assert phase.state(0).done == Amount(files=len(KEYS))
    assert len(script.requests_of("DeleteObjects")) == 1
    deleted = sorted(request.path for request in script.requests_of("DeleteObject"))
    assert deleted == ["/mybucket/out/a", "/mybucket/out/b%26c", "/mybucket/out/d"]


def test_only_unconfirmed_keys_are_deleted_again(script: Script, bucket: BucketClient) -> None:
    body = "<DeleteResult><Deleted><Key>out/a</Key></Deleted><Error><Key>out/d</Key>"
    body += "<Code>AccessDenied</Code><Message>Locked.</Message></Error></DeleteResult>"
    script.answer("DeleteObjects", Reply(body=body))
    phase = counting()
    assert run(bucket, phase) == {"out/d": "was not deleted: Locked."}
    assert phase.state(0).done == Amount(files=len(KEYS))
    assert [request.path for request in script.requests_of("DeleteObject")] == [
        "/mybucket/out/b%26c"
    ]


@pytest.mark.parametrize(
    ("code", "status"),
    [("AccessDenied", 403), ("NoSuchBucket", 404), ("InvalidAccessKeyId", 403), ("SlowDown", 503)],
)
def test_an_error_of_every_object_is_not_retried_one_by_one(
    script: Script, bucket: BucketClient, code: str, status: int
) -> None:
    script.answer("DeleteObjects", error_reply(code, status))
    outcome = run(bucket)
    assert list(outcome) == KEYS
    assert all(code in cause for cause in outcome.values())
    assert script.requests_of("DeleteObject") == []


def test_the_outcomes_name_an_object_that_cannot_be_deleted(
    script: Script, bucket: BucketClient
) -> None:
    script.answer("DeleteObjects", error_reply("NotImplemented", 501))
    script.answer("DeleteObject", error_reply("AccessDenied"), ending="/a")
    script.answer("DeleteObject", error_reply("NoSuchKey", 404), ending="/d")
    outcome = run(bucket)
    assert list(outcome) == ["out/a"]
    assert "AccessDenied" in outcome["out/a"]


def test_the_response_of_another_server_deletes_nothing(
    script: Script, bucket: BucketClient
) -> None:
    for operation in ("DeleteObjects", "DeleteObject", "HeadObject"):
        script.answer(operation, Reply(body=PAGE))
    assert set(run(bucket).values()) == {
        "was not deleted: the response is not from S3; check s3_endpoint_url"
    }


def test_after_status_200_a_head_shows_that_an_object_is_deleted(
    script: Script, bucket: BucketClient
) -> None:
    script.answer("DeleteObjects", error_reply("NotImplemented", 501))
    script.answer("DeleteObject", Reply(200))
    script.answer("HeadObject", Reply(404))
    assert run(bucket) == {}
    assert len(script.requests_of("HeadObject")) == len(KEYS)


def _listing(*keys: str) -> Reply:
    written = [key.encode("ascii", "xmlcharrefreplace").decode() for key in keys]
    found = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in written)
    return Reply(
        body=f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
    )


@pytest.mark.parametrize("other", ["out/x/d/A.TXT", "out/x/d/re\u0301sume\u0301"])
@pytest.mark.parametrize("is_one", [True, False])
def test_another_spelling_of_a_delivered_key_is_not_deleted(
    script: Script, credentials: None, tmp_path: Path, other: str, is_one: bool
) -> None:
    source = tmp_path / "d"
    source.mkdir()
    for name in ("a.txt", "r\u00e9sum\u00e9"):
        (source / name).write_text(name)
    sent = [] if is_one else ["out/x/d/a.txt", "out/x/d/r\u00e9sum\u00e9"]
    script.rule("DeleteObjects", confirm)
    script.rule(
        "ListObjectsV2",
        lambda _: _listing(
            other, "out/x/d/old", *(sent if script.requests_of("PutObject") else [])
        ),
    )
    sink = DataSink(base_directory="s3://mybucket/out", s3_endpoint_url=script.url)
    sink.inputs.remove_dest_dir = True
    sink.inputs.x = str(source)
    sink.run()
    (request,) = script.requests_of("DeleteObjects")
    deleted = sorted(re.findall("<Key>(.*?)</Key>", request.body.decode()))
    assert deleted == (["out/x/d/old"] if is_one else sorted([other, "out/x/d/old"]))


def test_an_error_while_deleting_keeps_the_other_outcomes(
    script: Script, credentials: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("accident")

    monkeypatch.setattr(deletion, "_delete_keys", fail)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("a")
    script.answer("ListObjectsV2", _listing("out/x/d/old"))
    sink = DataSink(base_directory="s3://mybucket/out", s3_endpoint_url=script.url)
    sink.inputs.remove_dest_dir = True
    sink.inputs.x = str(tmp_path / "d")
    with pytest.raises(S3Error, match="accident") as caught:
        sink.run()
    became = {item.transfer.key: item.status for item in caught.value.outcomes}
    assert became == {"out/x/d/a.txt": Status.NEW, "out/x/d/old": Status.FAILED}
