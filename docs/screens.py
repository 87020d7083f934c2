"""Run the commands whose output is shown in the documentation, and write their output into it.

A screen is a code block that starts with ``$ ``. Its commands run in one directory, page by page,
with the files that the documentation shows: Python blocks that start with ``# NAME.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from tests.stores import ACCESS_KEY, SECRET_KEY, moto

ROOT = Path(__file__).parents[1]
# In this order: the page on previews runs the pipeline, whose results are known afterwards.
NAMES = (
    "README.md",
    "docs/start.md",
    "docs/preview.md",
    "docs/after-the-run.md",
    "docs/salvage.md",
    "docs/s3-copy.md",
)
PAGES = [ROOT / name for name in NAMES]
STORE = "http://minio:9000"
DIRECTORY = "/home/me/study"  # shown instead of the temporary directory
PROCESS = "process 4711 on node1"  # shown instead of the process that has run a command
# Shown instead of time, user and number in the name of a crash file.
CRASH_FILE = r"crash-20261126-150000-me-\1-7f9c2ba4-e88f-4280-a1b5-0d3c6e9f7a52"

_SCREEN = re.compile(r"(?<=^```console\n)\$ .*?(?=^```$)", re.MULTILINE | re.DOTALL)
_CRASH_FILE = re.compile(r"crash-[\d-]+-\S+?-(\w+\.\w+)-[0-9a-f-]{36}")
_PROCESS = re.compile(r"process \d+ on \S+")
_FILE = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)


def example_files() -> dict[str, str]:
    """Return the Python files that the documentation shows, by name."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text() for page in pages)
    return {name: code for code, name in _FILE.findall(text)}


def run_screens(text: str, directory: Path, environment: dict[str, str]) -> str:
    """Return the text of a page with the output that its screens have now."""

    def run(screen: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)\n", screen[0], re.MULTILINE)
        return "".join(f"$ {each}\n{_output(each, directory, environment)}" for each in commands)

    return _SCREEN.sub(run, text)


def _output(command: str, directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    text = _CRASH_FILE.sub(CRASH_FILE, done.stdout.replace(str(directory), DIRECTORY))
    return _PROCESS.sub(PROCESS, text)


@contextmanager
def laboratory(directory: Path) -> Iterator[dict[str, str]]:
    """Write the example files, start a store with the bucket ``mybucket``; yield the environment.

    The store has the address `STORE`, because requests go through a proxy: the store itself.
    """
    for name, code in example_files().items():
        (directory / name).write_text(code)
    hidden = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PYTHONWARNINGS")
    kept = {name: os.environ[name] for name in os.environ if not name.upper().startswith(hidden)}
    with moto({"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}) as address:
        boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        ).create_bucket(Bucket="mybucket")
        yield {
            **kept,
            "PATH": os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"])),
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL_S3": STORE,
            "AWS_CONFIG_FILE": str(directory / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(directory / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "http_proxy": address,
            "NIPYPE_NO_ET": "1",
        }


def main() -> None:
    """Write the output of all screens into the pages."""
    with tempfile.TemporaryDirectory() as name, laboratory(Path(name)) as environment:
        for page in PAGES:
            page.write_text(run_screens(page.read_text(), Path(name), environment))


if __name__ == "__main__":
    main()
