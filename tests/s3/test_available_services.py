"""botocore looks for the models of one service, and still knows the names of all."""

from __future__ import annotations

import os
from typing import Any

import pytest
from botocore.exceptions import UnknownServiceError
from botocore.loaders import create_loader

from nipype_datasink.s3.available_services import list_services_lazily
from nipype_datasink.s3.session import start_session


@pytest.fixture
def loader() -> Any:
    loader = create_loader()
    list_services_lazily(loader)
    return loader


def test_names_are_those_that_botocore_lists(loader: Any) -> None:
    names = create_loader().list_available_services("service-2")
    found = loader.list_available_services("service-2")

    assert list(found) == names
    assert len(found) == len(names)
    assert "s3" in found
    assert "s3" not in loader.list_available_services("no such type")
    assert "no such service" not in found


def test_an_unknown_service_is_an_error_that_names_the_others(loader: Any) -> None:
    with pytest.raises(UnknownServiceError, match="sts"):
        loader.load_service_model("no such service", "service-2")


def test_a_client_is_made_without_listing_all_services(
    credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: set[str] = set()
    listdir = os.listdir

    def recording_listdir(path: str) -> list[str]:
        listed.add(os.path.basename(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", recording_listdir)
    # Not the loader that all tests share, which may have looked before.
    monkeypatch.setattr("botocore.session.create_loader", create_loader)

    start_session(region_name="us-east-1").resource("s3")

    assert listed == {"s3"}
