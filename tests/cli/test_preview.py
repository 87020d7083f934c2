"""Test the commands that examine a pipeline: what they print, where, and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from nipype_datasink.cli import main
from tests.conftest import contents, tree
from tests.forks import RunPython

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

PIPELINE = """
import argparse
import atexit
import os
from nipype import Node, Workflow
from nipype.interfaces.io import DataSink
from nipype.interfaces.utility import Function

def write():
    raise AssertionError("a node runs")

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("bases", nargs="+")
    arguments = parser.parse_args()
    print("building" if arguments.json else "not building")
    os.system("echo a child")
    atexit.register(print, "at the end")
    workflow = Workflow("study", base_dir=os.path.abspath("work"))
    node = Node(Function(output_names=["out"], function=write), name="node")
    for number, base in enumerate(arguments.bases):
        sink = Node(DataSink(base_directory=base), name=f"sink{number}")
        sink.inputs.given = os.path.abspath(__file__)
        workflow.connect(node, "out", sink, "made.@x")
    workflow.run(plugin="MultiProc")

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def pipeline(workdir: Path) -> Path:
    """A script with two sinks, in an otherwise empty directory."""
    path = workdir / "pipeline.py"
    path.write_text(PIPELINE)
    return path


@pytest.fixture
def run_command(fork_python: RunPython) -> RunPython:
    """Return a function that runs the command with the arguments that it is given."""
    return partial(fork_python, "-m", "nipype_datasink")


_LINE = PIPELINE.splitlines().index('    workflow.run(plugin="MultiProc")') + 1
STOPPED = f"stopped at pipeline.py:{_LINE}; workflows after it were not seen"


def test_plan_shows_destinations_and_where_the_program_was_stopped(
    pipeline: Path, run_command: RunPython
) -> None:
    directory = pipeline.parent

    done = run_command("plan", "pipeline.py", "--json", f"{directory}/a", f"{directory}/b")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["building", "a child"]
    assert lines[-2:] == [STOPPED, "at the end"]
    for name in ("a", "b"):
        assert f"study.sink{'ab'.index(name)} -> {directory}/{name}" in lines
        assert any(line.endswith(f"{directory}/{name}/given/pipeline.py") for line in lines)
        assert any(line.endswith(f"{directory}/{name}/made/{{node.out}}") for line in lines)
    assert set(tree(directory)) == {"pipeline.py"}


def test_plan_compares_with_what_is_there(pipeline: Path, run_command: RunPython) -> None:
    there = pipeline.parent / "a" / "given" / "pipeline.py"
    there.parent.mkdir(parents=True)
    there.write_text(PIPELINE)

    done = run_command("plan", "--compare", "pipeline.py", f"{pipeline.parent}/a")

    assert done.returncode == 0, done.stderr
    assert f"{there}  (unchanged)" in done.stdout


@pytest.mark.parametrize("command", ["plan", "check"])
def test_a_copy_in_s3_is_shown_before_the_run(
    command: str,
    pipeline: Path,
    bucket: Bucket,
    endpoint: str,
    run_command: RunPython,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)

    copied = ["--s3-copy", "out=s3://mybucket/p"]

    done = run_command(command, *copied, "pipeline.py", f"{pipeline.parent}/out/a")

    assert done.returncode == 0, done.stderr
    found = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("s3://")]
    shown = ["given/pipeline.py", "made/{node.out}"]
    expected = {"plan": [f"s3://mybucket/p/a/{each}" for each in shown]}
    assert found == expected.get(command, ["s3://mybucket/p/a"])
    assert contents(bucket) == {}


@pytest.mark.parametrize("command", ["run", "plan", "check", "salvage"])
def test_a_copy_that_is_not_in_s3_is_incorrect_use(command: str, pipeline: Path) -> None:
    done = CliRunner().invoke(main, [command, "--s3-copy", "out=/copy", str(pipeline)])
    assert done.exit_code == 2
    assert "--s3-copy: 'out=/copy' is not valid; write 'DIR=s3://bucket/prefix'" in done.output


def test_check_of_a_place_makes_no_copy(workdir: Path) -> None:
    done = check("--s3-copy", "out=s3://mybucket/p", f"{workdir}/")
    assert done.exit_code == 2
    assert f"--s3-copy: only with a program, and '{workdir}/' is a place" in done.output


def test_plan_exits_with_1_if_destinations_clash(pipeline: Path, run_command: RunPython) -> None:
    text = PIPELINE.replace("os.path.abspath(__file__)", 'os.path.abspath(f"{number}/given.txt")')
    pipeline.write_text(text)
    for number in range(2):
        path = pipeline.parent / str(number) / "given.txt"
        path.parent.mkdir()
        path.write_text(str(number))

    base = str(pipeline.parent / "same")
    done = run_command("plan", "pipeline.py", base, base)

    assert done.returncode == 1
    assert "CLASH" in done.stdout


def test_place_is_shown_after_the_plan_if_the_program_redirects_its_output(
    workdir: Path, run_command: RunPython
) -> None:
    (workdir / "script.py").write_text(
        "import contextlib, io\n"
        "from nipype import Workflow\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    Workflow('study').run()\n"
    )

    done = run_command("plan", "script.py")

    place = "stopped at script.py:4; workflows after it were not seen"
    assert (done.stdout.splitlines(), done.stderr) == (["no sinks", place], "")


def test_reader_that_ends_early_causes_no_error(workdir: Path) -> None:
    (workdir / "script.py").write_text("from nipype import Workflow\nWorkflow('study').run()\n")
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "nipype_datasink", "plan", "script.py"]

    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(write)

    assert (done.stderr, done.returncode) == (b"", 0)


@pytest.mark.parametrize("command", ["plan", "check", "run"])
def test_option_after_the_target_causes_a_note(
    workdir: Path, command: str, run_command: RunPython
) -> None:
    (workdir / "script.py").write_text("raise SystemExit(3)")
    name = "--missing" if command == "run" else "--json"

    after = run_command(command, "script.py", name, "skip")
    own = [name, "skip"] if command == "run" else [name]
    before = run_command(command, *own, "script.py", name)

    program = f"python -m nipype_datasink {command}"
    note = f"note: {name}: an argument of the program here; write options of '{program}' before"
    assert note in after.stderr
    assert "note" not in before.stderr
    assert (after.returncode, before.returncode) == (3, 3)
    assert "note" not in CliRunner().invoke(main, [command, "missing.py", name]).output


def test_json_is_the_only_standard_output(pipeline: Path, run_command: RunPython) -> None:
    done = run_command("plan", "--json", "pipeline.py", "--json", f"{pipeline.parent}/a")

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert f"{pipeline.parent}/a/given/pipeline.py" in done.stdout
    assert document["ok"] is True
    assert done.stderr.splitlines() == ["building", "a child", STOPPED, "at the end"]


def test_plan_without_a_workflow_is_incorrect_use(pipeline: Path, run_command: RunPython) -> None:
    done = run_command("plan", "pipeline.py", "--help")

    assert done.returncode == 2
    assert "usage: pipeline.py" in done.stdout
    assert "pipeline.py --help ended, but did not run a workflow or a sink" in done.stderr


def test_failing_program_has_its_own_exit_code_and_traceback(
    pipeline: Path, run_command: RunPython
) -> None:
    pipeline.write_text("import gone\n")

    done = run_command("check", "pipeline.py")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'gone'"


def test_check_of_a_pipeline_runs_no_node(pipeline: Path, run_command: RunPython) -> None:
    done = run_command("check", "pipeline.py", f"{pipeline.parent}/a")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-3:] == ["would work: yes", STOPPED, "at the end"]
    assert f"{pipeline.parent}/a" in lines
    assert set(tree(pipeline.parent)) == {"pipeline.py"}


def test_check_exits_with_1_if_a_sink_would_fail(pipeline: Path, run_command: RunPython) -> None:
    (pipeline.parent / "a").touch()

    done = run_command("check", "--json", "pipeline.py", f"{pipeline.parent}/a")

    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False


@pytest.mark.parametrize("command", ["plan", "check"])
def test_unexpected_error_is_one_line(workdir: Path, command: str, run_command: RunPython) -> None:
    (workdir / "script.py").write_text(
        "from nipype import Workflow\n"
        "Workflow._generate_flatgraph = lambda _: 1 / 0\n"
        "Workflow('study').run()\n"
    )

    done = run_command(command, "script.py")

    assert done.returncode == 1
    assert done.stderr.splitlines() == ["Error: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize("options", [["--region", "x"], ["--creds-path", "x", "--encrypt"]])
def test_options_for_a_store_need_an_address(
    pipeline: Path, options: list[str], run_command: RunPython
) -> None:
    done = run_command("check", *options, "pipeline.py")

    assert done.returncode == 2
    names = ", ".join(name for name in options if name.startswith("--"))
    assert f"Error: {names}: only with an address" in done.stderr


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_check_of_an_address_takes_options_before_and_after_it(
    bucket: Bucket, endpoint: str, first: bool
) -> None:
    options = ["--endpoint-url", endpoint, "--json", "--write-object"]
    address = "s3://mybucket/study"

    result = check(*options, address) if first else check(address, *options)

    assert result.exit_code == 0, result.output
    (place,) = json.loads(result.stdout)["places"]
    assert place["place"] == address
    assert contents(bucket) == {}


def test_check_of_a_missing_bucket_exits_with_1(bucket: Bucket, endpoint: str) -> None:
    result = check("s3://missing/study", "--endpoint-url", endpoint)

    assert result.exit_code == 1
    assert "would work: no" in result.output


def test_check_of_a_directory(workdir: Path) -> None:
    result = check(str(workdir))

    assert result.exit_code == 0
    assert result.output.splitlines()[0] == str(workdir)
    assert tree(workdir) == {}


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_are_as_wide_as_the_terminal(workdir: Path, terminal: bool) -> None:
    (workdir / "file").touch()
    master, slave = os.openpty()
    read, write = (master, slave) if terminal else os.pipe()
    command = [sys.executable, "-m", "nipype_datasink", "check", f"{workdir}/file/out"]
    subprocess.run(
        command, stdout=write, env={**os.environ, "COLUMNS": "500"}, timeout=120, check=False
    )
    shown = os.read(read, 10_000).decode()
    for descriptor in {master, slave, read, write}:
        os.close(descriptor)

    cause = f"{workdir}/file is not a directory; choose another base directory, or remove the file"
    assert (cause in shown) is terminal
    assert "would work: no" in shown


@pytest.mark.parametrize("end", ["", "/"])
def test_check_of_a_directory_that_does_not_exist_yet(workdir: Path, end: str) -> None:
    result = check(f"{workdir}/out{end}")

    assert result.exit_code == 0
    assert result.output.splitlines()[0] == f"{workdir}/out"
    assert tree(workdir) == {}


def test_check_of_a_directory_that_cannot_be_made(workdir: Path) -> None:
    (workdir / "file").touch()
    result = check(f"{workdir}/file/out")

    assert result.exit_code == 1
    assert f"{workdir}/file is not a directory" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("word", "suggestions"),
    [
        ("mybucket", ("'s3://mybucket'", "'./mybucket'")),
        ("missing/script.py", ("the path of a script, '-m MODULE'", "'s3://bucket'")),
    ],
)
def test_a_target_that_is_not_found_may_mean_a_place(
    workdir: Path, word: str, suggestions: tuple[str, ...]
) -> None:
    result = check(word)

    assert result.exit_code == 2
    for each in suggestions:
        assert each in result.output


@pytest.mark.parametrize("address", ["s3:/mybucket/x", "gs://mybucket/x"])
def test_an_address_that_is_not_valid_gets_the_advice_of_a_sink(
    workdir: Path, address: str
) -> None:
    result = check(address)

    assert result.exit_code == 1
    output = " ".join(result.output.split())
    assert f"the target '{address}'" in output
    assert "'s3://mybucket/x'" in output or "'s3://bucket/prefix'" in output
    assert "sink" not in output


def test_advice_names_the_option_of_the_command(credentials: None) -> None:
    result = check("s3://mybucket", "--endpoint-url", "http://127.0.0.1:9", "--region", "us-east-1")

    assert result.exit_code == 1
    assert "(--endpoint-url), region us-east-1" in " ".join(result.output.split())
    assert "check --endpoint-url (host and port)" in " ".join(result.output.split())
    assert "s3_" not in result.output


def test_advice_names_two_options_that_exclude_each_other(workdir: Path) -> None:
    result = check("s3://mybucket", "--creds-path", "/nowhere/s3_region", "--profile", "lab")

    assert "set either --creds-path or --profile, not both" in result.output


@pytest.mark.parametrize(
    "options", [["--region", "x"], ["--encrypt"], ["--write-object"], ["--encrypt", "--json"]]
)
def test_options_for_a_store_are_not_allowed_with_a_directory(
    workdir: Path, options: list[str]
) -> None:
    result = check(str(workdir), *options)

    assert result.exit_code == 2
    assert f"{options[0]}: only with an s3:// address" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s3://a/b", "s3://c/d"], "an address takes no arguments: unexpected argument 's3://c/d'"),
        (["./a", "b"], "a directory takes no arguments: unexpected argument 'b'"),
        (["s3://a/b", "--bogus"], "no such option: --bogus"),
        ([], "Missing argument"),
    ],
)
def test_incorrect_use_of_check_exits_with_2(
    workdir: Path, arguments: list[str], message: str
) -> None:
    result = check(*arguments)

    assert result.exit_code == 2
    assert message in result.output
