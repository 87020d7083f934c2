"""The store that a page tells how to start takes the commands of this page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.stores import free_ports, running
from tests.test_docs import ROOT, blocks


def test_the_store_of_the_page_on_previews_can_be_checked(workdir: Path) -> None:
    (port,) = free_ports(1)
    start, create = (
        text.replace("9000", str(port)) for text in blocks(ROOT / "docs" / "preview.md", "sh")
    )
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    commands = f"{create}\nnipype-datasink check s3://mybucket/deriv"

    with running(["sh", "-c", f"exec {start}"], workdir / "log", port, {"PATH": path}):
        done = subprocess.run(
            ["sh", "-e", "-c", commands],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    assert f"endpoint   http://127.0.0.1:{port} (AWS_ENDPOINT_URL_S3)" in done.stdout
    assert "would work: yes" in done.stdout, done.stderr
    assert done.returncode == 0
