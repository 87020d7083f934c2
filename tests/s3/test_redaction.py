"""Secrets that a store repeats are in no error."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from hypothesis import given, settings
from hypothesis import strategies as st

from nipype_datasink import DataSink, S3Error
from nipype_datasink.s3 import target
from nipype_datasink.s3.redaction import redact
from tests.s3.conftest import response
from tests.s3.scripted_store import Script, error_reply

SECRET = "wJalr/XUt+nFEMI=K7&<EXAMPLE"
TOKEN = "FwoGZXIv//YXdz+EJr=="

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "url": quote,
    "url, slashes too": lambda text: quote(text, safe=""),
    "url, lower case": lambda text: quote(text, safe="").replace("%2F", "%2f"),
    "url, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "xml": escape,
    "xml, numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "xml, hexadecimal numbers": lambda text: "".join(f"&#x{ord(each):02X};" for each in text),
    "json": lambda text: text.replace("/", "\\/"),
    "json, numbers": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
}


def refused(where: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": f"Bad{where}", "Message": f"no {where}", "Resource": [f"/{where}/"]},
        "ResponseMetadata": {"HTTPHeaders": {"x-echo": where, where: "x"}, "HTTPStatusCode": 400},
    }
    return ClientError(answer, "PutObject")


@pytest.mark.parametrize("encode", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("secret", [SECRET, TOKEN])
def test_a_secret_is_removed_from_every_field(encode: Callable[[str], str], secret: str) -> None:
    error = refused(f"<{encode(secret)}>")
    error.__cause__ = RuntimeError(f"sent {encode(secret)}", encode(secret).encode())
    redact(error, [SECRET, TOKEN, None])
    text = f"{error} {error.response} {error.__cause__!r}"
    assert encode(secret) not in text
    assert text.count("(removed)") == 9
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_other_text_is_not_changed() -> None:
    error = refused("plain")
    before = (str(error), repr(error.response))
    redact(error, [SECRET, SECRET.swapcase(), "no", "", None])
    assert (str(error), repr(error.response)) == before


@pytest.mark.no_cover  # the table of encodings covers the same code
@settings(max_examples=20)  # each compiles long regular expressions
@given(st.text(min_size=6, max_size=20), st.sampled_from(sorted(FORMS)))
def test_any_secret_is_found_in_any_encoding(secret: str, form: str) -> None:
    if form.startswith(("json, n", "url", "form")):
        secret = secret.encode("ascii", "ignore").decode() + "secret"
    error = S3Error(f"<{FORMS[form](secret)}>")
    redact(error, [secret])
    assert str(error) in ("<(removed)>", "<(removed)") or FORMS[form](secret) not in str(error)


@pytest.mark.parametrize("injected", [True, False])
def test_secrets_that_a_store_repeats_are_in_no_error(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, injected: bool
) -> None:
    def send(self: URLLib3Session, request: Any) -> AWSResponse:
        if request.method != "PUT":
            return response(request.url, "<ListBucketResult/>")
        body = f"<Code>InvalidRequest</Code><Message>{escape(SECRET)} {quote(TOKEN)}</Message>"
        return response(request.url, f"<Error>{body}</Error>", status=400, x_token=TOKEN)

    monkeypatch.setattr(URLLib3Session, "send", send)
    session = boto3.session.Session("AKID", SECRET, TOKEN, region_name="us-east-1")
    (workdir / "a").write_text("a")
    sink = DataSink(base_directory="s3://mybucket/out", s3_transfer_client="classic")
    if injected:
        sink.inputs.bucket = session.resource("s3").Bucket("mybucket")
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    sink.inputs.x = str(workdir / "a")
    with pytest.raises(S3Error) as caught:
        sink.run()
    error: Any = caught.value
    text = "".join(traceback.format_exception(error))
    everything = [text, repr(vars(error)), repr([vars(item.cause) for item in error.outcomes])]
    for secret in (SECRET, TOKEN):
        for form in FORMS.values():
            assert not any(form(secret) in each for each in everything)
        assert secret.encode() not in pickle.dumps(error)


@pytest.mark.parametrize("code", [None, "NoSuchBucket"])
def test_each_cause_is_searched_for_secrets_once(
    script: Script,
    credentials: None,
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str | None,
) -> None:
    sought: list[BaseException | None] = []
    monkeypatch.setattr(target, "redact", lambda error, _: sought.append(error))
    sink = DataSink(base_directory="s3://mybucket/out", s3_endpoint_url=script.url)
    sink.inputs.motion = files
    if code is None:
        sink.run()
        assert sought == []
        return
    script.answer("ListObjectsV2", error_reply(code, 404))
    with pytest.raises(S3Error):
        sink.run()
    assert len(sought) == 1
