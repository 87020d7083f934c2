"""Test that errors derive from builtins and can be pickled."""

from __future__ import annotations

import pickle
import sys
import types

import pytest
from botocore.exceptions import ClientError

import nipype_datasink
from nipype_datasink import DataSink, FileTransfer, Outcome, Outcomes, Status, errors
from nipype_datasink.errors import DataSinkError, DeliveryError, S3Error
from nipype_datasink.s3.errors import S3ClientError

CLASSES = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, DataSinkError)
]


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


def test_an_original_that_cannot_be_pickled_is_kept_as_text() -> None:
    error = errors.with_original(S3Error("a"), RuntimeError("open", open))
    assert type(error.original) is RuntimeError
    error = errors.with_original(S3Error("a"), RuntimeError("cannot be pickled", lambda: None))
    assert type(error.original) is DeliveryError
    assert str(error.original).startswith("RuntimeError: ('cannot be pickled'")
    assert str(pickle.loads(pickle.dumps(error)).original) == str(error.original)


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


def set_ipython_mode(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Have a module as IPython is to this package."""
    shell = types.SimpleNamespace(InteractiveTB=types.SimpleNamespace(mode=mode))
    module = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)


def failing_cell() -> DataSinkError:
    """Return an error as a cell of a notebook raises it: IPython runs the code of the user."""
    names = {"__name__": "IPython.core.interactiveshell", "sink": DataSink(base_directory="gs://a")}
    cell: dict[str, object] = {"__name__": "__main__"}
    exec("def call(sink):\n    sink.plan()", cell)
    with pytest.raises(DataSinkError) as caught:
        exec("call(sink)", {**names, "call": cell["call"]})
    error: DataSinkError = caught.value
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # of this test
    return error


def test_a_notebook_shows_the_frames_of_the_user_and_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_ipython_mode(monkeypatch, "Context")
    error = failing_cell()
    assert error._render_traceback_() == [
        "Traceback (most recent call last); '%tb Verbose' shows all of it:",
        '  File "<string>", line 2, in call',
        f"SettingsError: {error}",
    ]


@pytest.mark.parametrize("mode", ["Verbose", "Plain"])
def test_a_notebook_shows_everything_if_the_user_asks_for_it(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_ipython_mode(monkeypatch, mode)
    assert not hasattr(failing_cell(), "_render_traceback_")


def test_without_ipython_errors_are_shown_by_python() -> None:
    assert not hasattr(DataSinkError("a"), "_render_traceback_")
