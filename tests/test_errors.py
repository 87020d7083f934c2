"""Test that errors derive from builtins and can be pickled."""

from __future__ import annotations

import pickle

import pytest
from botocore.exceptions import ClientError

import nipype_datasink
from nipype_datasink import FileTransfer, Outcome, Outcomes, Status, errors
from nipype_datasink.errors import DataSinkError, DeliveryError, S3Error
from nipype_datasink.s3.errors import S3ClientError

CLASSES = [each for each in vars(errors).values() if isinstance(each, type)]


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("SettingsError", ValueError),
        ("SourceError", ValueError),
        ("MissingSourceError", FileNotFoundError),
        ("CollisionError", ValueError),
        ("LateCollisionError", ValueError),
        ("DestinationError", OSError),
        ("DeliveryError", OSError),
        ("S3Error", OSError),
        ("CredentialsError", OSError),
    ],
)
def test_errors_derive_from_builtins(name: str, builtin: type[Exception]) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, DataSinkError)
    assert issubclass(kind, builtin)


def test_s3_errors_are_delivery_errors() -> None:
    assert issubclass(errors.CredentialsError, S3Error)
    assert issubclass(S3Error, DeliveryError)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_error_keeps_its_message_when_pickled(kind: type[Exception]) -> None:
    error = pickle.loads(pickle.dumps(kind("a: b\nc")))
    assert type(error) is kind
    assert str(error) == "a: b\nc"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_public(kind: type[Exception]) -> None:
    assert getattr(nipype_datasink, kind.__name__) is kind
    assert kind.__name__ in nipype_datasink.__all__


def test_s3_client_error_is_a_boto3_error_and_can_be_pickled() -> None:
    error = S3ClientError("nothing arrived", {"Error": {"Code": "AccessDenied"}}, "PutObject")
    outcome = Outcome(
        transfer=FileTransfer(source="/a", destination="s3://b/a", size=1), status=Status.FAILED
    )
    error.outcomes = Outcomes([outcome])
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, S3ClientError)
    assert isinstance(copy, ClientError)
    assert isinstance(copy, S3Error)
    assert str(copy) == "nothing arrived"
    assert copy.response["Error"]["Code"] == "AccessDenied"
    assert copy.operation_name == "PutObject"
    assert copy.outcomes == (outcome,)
