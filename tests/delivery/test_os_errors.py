"""Errors of the operating system are explained with what to do."""

from __future__ import annotations

import errno
import os

import pytest

from nipype_datasink.delivery.os_errors import explain_os_error


def system_error(number: int, text: str | None = None) -> OSError:
    return OSError(number, text or os.strerror(number), "/out/a")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            system_error(errno.ENOSPC),
            "No space left on device; free space there, or choose another base directory",
        ),
        (
            system_error(errno.EIO, "the copy is incomplete"),
            "[Errno 5] the copy is incomplete: '/out/a'",
        ),
        (system_error(errno.EXDEV), "[Errno 18] Invalid cross-device link: '/out/a'"),
        (OSError("full"), "full"),
        (ValueError(), "ValueError"),
    ],
)
def test_what_to_do_follows_what_the_system_says(error: Exception, text: str) -> None:
    assert explain_os_error(error) == text
