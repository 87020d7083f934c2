"""A template is made from a request that botocore prepares and does not send."""

from __future__ import annotations

from typing import Any

from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.client import ClientOptions, open_bucket
from nipype_datasink.s3.crt.request import make_template
from tests.s3.scripted_store import Script


def number_of_handlers(client: Any) -> int:
    return len(client.meta.events._emitter._handlers.prefix_search("before-call.s3.PutObject"))


def test_templates_send_nothing_and_leave_the_client_alone(
    script: Script, credentials: None
) -> None:
    options = ClientOptions(endpoint_url=script.url, region="us-east-1")
    client = open_bucket("mybucket", options).meta.client
    bucket = BucketClient(client=client, name="mybucket", upload_args={})
    before = number_of_handlers(client)
    assert make_template(bucket).path("a b") == "/mybucket/a%20b"
    assert number_of_handlers(client) == before
    assert script.requests == []
    client.put_object(Bucket="mybucket", Key="key", Body=b"body")
    assert [request.body for request in script.requests] == [b"body"]
