"""Test the demo with all its images; `tests/cli/test_demo.py` uses one."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from nipype_datasink.cli import main
from nipype_datasink.demo.series import real_series
from tests.conftest import tree


def test_demo_works_with_every_image(workdir: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--directory", "kept"])

    assert result.exit_code == 0, result.output
    folders = {name.partition("/")[0] for name in tree(workdir / "kept" / "local_copy")}
    assert folders >= set(real_series()) >= {"sub001", "sub002", "sub003"}
