"""The output of commands that the documentation shows is what they print."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.screens import PAGES, laboratory, run_screens


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_screens_show_what_the_commands_print(page: Path, workdir: Path) -> None:
    text = page.read_text()
    with laboratory(workdir) as environment:
        assert run_screens(text, workdir, environment) == text, "run `make screens`"
