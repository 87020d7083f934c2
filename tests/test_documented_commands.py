"""The commands, lines of logs and installation lines that the documentation shows are right."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import jmespath  # type: ignore[import-untyped]
import pytest
from nipype import config

from docs.screens import PAGES as PAGES_WITH_SCREENS
from nipype_datasink import (
    CheckReport,
    DataSinkInputSpec,
    SalvageReport,
    VerifyReport,
    WorkflowPlan,
)
from nipype_datasink import configuration as module
from nipype_datasink.cli import main
from nipype_datasink.configuration import option_name, read_options
from nipype_datasink.delivery.progress_text import (
    Amount,
    Phase,
    Rate,
    State,
    interruption_line,
    log_line,
)
from tests.test_docs import PAGES, ROOT, blocks, rows

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

COMMAND = ROOT / "docs" / "command.md"
S3 = ROOT / "docs" / "s3.md"
START = ROOT / "docs" / "start.md"
WORKFLOWS = ROOT / "docs" / "workflows.md"
PLACE = "s3://lab/many"

# Each has tests that run its blocks, or accept them.
LANGUAGES = {"console", "ini", "json", "pycon", "python", "sh", "text"}

INPUTS = {option_name(name): name for name in module._INPUTS}


def command_lines(page: Path, program: str) -> Iterator[list[str]]:
    """Yield the words of each command of a program in blocks and in the text of a page."""
    code = "".join(blocks(page, "console") + blocks(page, "sh")).replace("\\\n", " ")
    lines = re.findall(rf"^(?:\$ )?({re.escape(program)} .*)$", code, re.MULTILINE)
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(rf"`({re.escape(program)} [^`]* [^`]*)`", text)
    for line in lines:
        yield shlex.split(re.split(r" (?:\d?>|\|)", line)[0])


def test_the_language_of_every_block_is_known() -> None:
    text = "".join(page.read_text() for page in PAGES)
    found = set(re.findall(r"^```(\w+)$", text, re.MULTILINE))
    assert found == LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_line_of_a_console_is_a_command_that_a_test_knows(page: Path) -> None:
    """Lines that start with ``$ `` are run, and their output is compared."""
    for block in blocks(page, "console"):
        if block.startswith("$ "):
            assert page in PAGES_WITH_SCREENS
        else:
            lines = block.replace("\\\n", " ").splitlines()
            known = ("nipype-datasink ", "pip install ", "aws s3api ")
            assert [line for line in lines if not line.startswith(known)] == []


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_command_line_of_a_page_is_accepted(page: Path) -> None:
    for _, name, *words in command_lines(page, "nipype-datasink"):
        if name != "COMMAND":
            command: click.Command = main.commands[name]
            context = command.make_context(name, words)
            # An unknown option is taken for a target, which no test can run here.
            assert not re.match("-(?!m$)", context.params.get("words", ["-m"])[0])


def test_the_pages_show_every_command() -> None:
    shown = {words[1] for page in PAGES for words in command_lines(page, "nipype-datasink")}
    assert shown >= {"run", "plan", "check", "salvage", "verify"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plan", WorkflowPlan(sinks=(), is_compared=True)),
        ("check", CheckReport(places=())),
        ("verify", VerifyReport(recorded=0)),
        ("salvage", SalvageReport(sinks=())),
    ],
)
def test_the_page_of_the_command_lists_the_keys_of_its_json(name: str, value: Any) -> None:
    cells = [row[0] for row in rows(COMMAND, f"key of `{name} --json`") if " of " not in row[0]]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(value.as_json())


def call_aws(client: Any, words: list[str]) -> Any:
    """Send the request of a command line of AWS's program; boto3 checks names and values."""
    _, _, operation, *rest = words
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    query, _ = options.pop("--query", "@"), options.pop("--output", None)
    names = {
        f"--{re.sub(r'(?<!^)(?=[A-Z])', '-', name).lower()}": name
        for name in client.meta.service_model.operation_model(
            client.meta.method_to_api_mapping[operation.replace("-", "_")]
        ).input_shape.members
    }
    values = {
        names[name]: json.loads(Path(value.removeprefix("file://")).read_text())
        if value.startswith("file://")
        else value
        for name, value in options.items()
    }
    response = getattr(client, operation.replace("-", "_"))(**values)
    return jmespath.search(query, response)


def test_the_commands_of_aws_find_and_remove_incomplete_uploads(
    workdir: Path, bucket: Bucket
) -> None:
    client, key = bucket.meta.client, "path/to/output/dir/incomplete.dat"
    upload = client.create_multipart_upload(Bucket=bucket.name, Key=key)["UploadId"]
    (rules,) = [text for text in blocks(S3, "json") if "AbortIncompleteMultipartUpload" in text]
    Path("lifecycle.json").write_text(rules)
    put_rules, find, remove = command_lines(S3, "aws")

    ((_, *found),) = call_aws(client, find)
    call_aws(client, [{"KEY": key, "UPLOAD_ID": upload}.get(word, word) for word in remove])
    call_aws(client, put_rules)

    assert found == [key, upload]
    assert call_aws(client, find) is None
    stored = client.get_bucket_lifecycle_configuration(Bucket=bucket.name)
    assert stored["Rules"] == json.loads(rules)["Rules"]


def configuration_files() -> list[str]:
    return [text for page in PAGES for text in blocks(page, "ini")]


@pytest.mark.parametrize("text", configuration_files())
def test_every_option_of_a_configuration_file_has_an_effect(text: str) -> None:
    config._config.read_string(text)
    options = re.findall(r"^(\w+) =", text, re.MULTILINE)
    names = [INPUTS[option] for option in options]

    assert set(read_options(DataSinkInputSpec(), names)) == set(names)
    assert names


def test_the_page_on_workflows_lists_every_option() -> None:
    listed = {row[0].strip("`"): row[1] for row in rows(WORKFLOWS, "option")}

    assert set(listed) == set(INPUTS)
    for option, name in INPUTS.items():
        assert f"`{name}`" in listed[option]


def test_the_page_on_workflows_shows_lines_that_are_logged() -> None:
    amounts = {
        "done": Amount(files=1204, size=112_000_000),
        "total": Amount(files=5006, size=560_000_000),
    }
    rate = Rate(files=225.0, size=21_000_000.0)
    lines = [
        log_line(State(place=PLACE, phase=phase, rate=rate, seconds=5.0, **amounts))
        for phase in (Phase.SENDING, Phase.COMPARING)
    ]
    lines.append(interruption_line(PLACE, Phase.SENDING, *amounts.values()))

    _, *shown = "".join(blocks(WORKFLOWS, "text")).splitlines()
    assert shown == lines


def test_the_installation_lines_name_extras_that_exist() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = (ROOT / "src").rglob("*.py")
    text = "".join(path.read_text() for path in [*PAGES, *sources])
    named = re.findall(rf"pip install '(?:\.|{project['name']})\[([\w,]+)\]'", text)

    assert len(named) >= 8
    assert {extra for extras in named for extra in extras.split(",")} == {
        row[0].strip("`") for row in rows(START, "extra")
    }
    assert {row[0].strip("`") for row in rows(START, "extra")} == set(
        project["optional-dependencies"]
    )
