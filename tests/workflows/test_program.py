"""Test which program a command line names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from nipype_datasink.workflows.program import Module, ProgramError, Script, find_program

Install = Callable[..., Path]


@pytest.fixture
def install(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write programs; each is in a directory of its own, the last one first on PATH."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    def install(directory: str, text: str, *, name: str = "tool") -> Path:
        path = workdir / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
        return path

    return install


def other_environment(directory: Path) -> Path:
    """Make the interpreter of another virtual environment, which is a link."""
    directory.mkdir()
    interpreter = directory / "python"
    interpreter.symlink_to(os.path.realpath(sys.executable))
    return interpreter


def test_file_is_a_script(workdir: Path) -> None:
    Path("pipeline").touch()

    program = find_program(["pipeline", "-m", "x"])

    assert program == Script(path="pipeline", arguments=("-m", "x"))


def test_file_comes_before_a_program_of_the_same_name(install: Install) -> None:
    install("bin", f"#!{sys.executable}\n")
    Path("tool").touch()

    assert find_program(["tool"]) == Script(path="tool")


def test_directory_does_not_hide_a_program(install: Install) -> None:
    path = install("bin", f"#!{sys.executable}\n")
    Path("tool").mkdir()

    assert find_program(["tool"]) == Script(path=str(path))


def test_module_has_its_own_arguments() -> None:
    program = find_program(["-m", "package.tool", "--missing", "-m"])

    assert program == Module(name="package.tool", arguments=("--missing", "-m"))


@pytest.mark.parametrize(
    "first_line",
    [
        "#!{python}\n",
        "#! {python} -sE\n",
        "#!/usr/bin/env python3\n",
        "#!/usr/bin/env -S PYTHONPATH=x python3 -s\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_program_of_this_interpreter(
    install: Install, monkeypatch: pytest.MonkeyPatch, first_line: str
) -> None:
    path = install("bin", first_line.format(python=sys.executable))
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)

    assert find_program(["tool", "x"]) == Script(path=str(path), arguments=("x",))


@pytest.mark.parametrize(
    "first_line",
    ["#!{python}\n", "#!/usr/bin/env python\n", "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n"],
)
def test_program_of_another_environment_is_refused(
    workdir: Path, install: Install, first_line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = other_environment(workdir / "venv")
    path = install("venv", first_line.format(python=python))

    with pytest.raises(ProgramError) as caught:
        find_program(["tool"])

    assert str(caught.value) == (
        f"{path} belongs to another interpreter, {python}, and this command to {sys.executable}; "
        f"install nipype-datasink there: {python} -m pip install nipype-datasink"
    )


@pytest.mark.parametrize("text", ["#!/bin/sh\n", "\x7fELF\0", "", "#!/usr/bin/env -i\n"])
def test_program_that_is_not_python_is_refused(install: Install, text: str) -> None:
    path = install("bin", text)

    with pytest.raises(ProgramError, match=f"{path} is not a Python program"):
        find_program(["tool"])


def test_program_beside_this_interpreter_needs_no_activated_environment(
    workdir: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = install("own", f"#!{workdir}/own/python\n")
    (workdir / "own" / "python").symlink_to(sys.executable)
    monkeypatch.setattr("sys.executable", str(workdir / "own" / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_program(["tool"]) == Script(path=str(own))

    install("shims", "#!/bin/sh\nexec pyenv exec tool\n")
    assert find_program(["tool"]) == Script(path=str(own))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone"], "'gone' is neither a file nor a program on PATH"),
        (["./gone.py"], "'./gone.py' does not exist"),
        (["./folder"], "'./folder' is a directory"),
        (["folder"], "'folder' is a directory, and not a program on PATH"),
        (["bold.nii"], "'bold.nii' is not a text file, and cannot be run here; write the path"),
        (["study.zip", "x"], "'study.zip' is a zip file, and cannot be run here; write the path"),
        (["./study.pyc"], "'./study.pyc' is a compiled file"),
        (["./pipe"], "'./pipe' is not a regular file"),
        (["-", "x"], "a program on standard input cannot be run here; write the path"),
        (["--bogus", "gone"], "no such option: --bogus"),
        (["-m"], "-m needs the name of a module"),
    ],
)
def test_what_names_no_program_is_an_error(workdir: Path, words: list[str], message: str) -> None:
    Path("folder").mkdir()
    Path("study.pyc").touch()
    os.mkfifo("pipe")
    Path("bold.nii").write_bytes(b"\x5c\x01\0\0")
    with ZipFile("study.zip", "w") as file:
        file.writestr("__main__.py", "print(1)")

    with pytest.raises(ProgramError, match=message):
        find_program(words)
