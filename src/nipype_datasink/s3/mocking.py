"""Detect moto's ``mock_aws``, which replaces S3 with an in-memory store in one process only."""

from __future__ import annotations

import logging
import multiprocessing
import sys

from nipype_datasink.worker import describe_process

_logger = logging.getLogger("nipype.interface")


def is_mocked() -> bool:
    """Return whether moto's ``mock_aws`` intercepts botocore now; moto is not imported."""
    models = sys.modules.get("moto.core.models")
    return bool(models and models.botocore_stubber.enabled)


def warn_if_mocked_in_worker() -> None:
    """Warn in a worker process that the store of ``mock_aws`` is a copy of the parent's.

    The parent sees nothing of what is written to that copy, so a test that looks there fails.
    """
    if is_mocked() and multiprocessing.parent_process():
        warn_of_copied_mock("moto's mock_aws")


def warn_of_copied_mock(mock: str) -> None:
    """Warn that `mock` was copied into this process, so that its calls are seen only here."""
    _logger.warning(
        "%s was copied into %s; the original process sees none of its calls",
        mock,
        describe_process(),
    )
