"""The documentation: its examples run, its links and tables are complete."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import os
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import nipype_datasink
from docs.inputs import inputs_as_markdown
from docs.screens import DIRECTORY, example_files
from nipype_datasink import DataSinkInputSpec
from nipype_datasink.cli import main as nipype_datasink_command
from tests.conftest import contents, tree
from tests.forks import RunPython
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]

STRICT = "import warnings; warnings.simplefilter('error', RuntimeWarning)"
KEYS = f"User Name,Access Key Id,Secret Access Key\nlab,{ACCESS_KEY},{SECRET_KEY}\n"
MINIO_KEYS = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
PROFILE = f"[lab]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def pages_with(language: str) -> pytest.MarkDecorator:
    pages = [page for page in PAGES if blocks(page, language)]
    return pytest.mark.parametrize("page", pages, ids=[page.name for page in pages])


def examples(page: Path) -> list[str]:
    """Return the Python examples of a page, except for files; their paths are below this one."""
    code = [code for code in blocks(page, "python") if code not in example_files().values()]
    return [each.replace(DIRECTORY, os.getcwd()) for each in code]


@pytest.fixture
def lab(workdir: Path, endpoint: str, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Make what the examples need: sources, keys, a profile, and a store for ``s3://``."""
    for name, code in example_files().items():
        Path(name).write_text(code)
    Path("sub001_bold.nii.gz").write_text("image")
    Path("credentials.csv").write_text(KEYS)
    Path("credentials.json").write_text(json.dumps(MINIO_KEYS))
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(PROFILE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    return bucket


@pytest.mark.needs("KMS")
@pages_with("python")
def test_the_examples_of_a_page_run(page: Path, lab: Bucket, fork_python: RunPython) -> None:
    code = "\n".join(
        ["import warnings; warnings.simplefilter('error', RuntimeWarning)", *examples(page)]
    )
    if "import fsspec" in code:
        pytest.importorskip("fsspec")
    # In another process, because install() changes the whole process.
    done = fork_python("-c", code)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "pycon")], ids=str)
def test_the_values_that_a_page_shows_are_right(page: Path) -> None:
    text = "\n".join(blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)

    assert len(test.examples) >= 10
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_first_example_does_what_its_comments_say(
    lab: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "\n".join(examples(README))
    names = set(re.findall(r"results/(\S+\.nii)", code))
    assert len(names) == 2

    exec(compile(code, README.name, "exec"), {})

    for directory in ("results", "backup"):
        found = tree(Path(directory))
        assert {name for name, data in found.items() if data is not None} == names
    assert set(contents(lab)) == {f"path/to/output/dir/{name}" for name in names}
    output = capsys.readouterr().out
    assert all(f"s3://mybucket/path/to/output/dir/{name}" in output for name in names)


def test_the_readme_states_what_was_measured() -> None:
    measured = json.loads((ROOT / "docs" / "benchmarks" / "results.json").read_text())
    assert measured["rows"]["small-20ms"] == "1,000 x 16 KiB, 20 ms round trip"
    seconds = {
        tool: [
            each["seconds"]
            for each in measured["measurements"]
            if each["row"] == "small-20ms" and each["tool"] == tool
        ]
        for tool in ("nipype", "crt")
    }

    text = " ".join(README.read_text().split())
    assert "1,000 files of 16 KiB into an S3 server with a round-trip time of 20 ms" in text
    assert "nipype's class needs more than a minute" in text
    assert min(seconds["nipype"]) > 60
    assert "less than half a second" in text
    assert max(seconds["crt"]) < 0.5


def test_the_examples_of_tests_pass(lab: Bucket, fork_python: RunPython) -> None:
    names = [name for name in example_files() if name.startswith("test_")]
    assert len(names) >= 2
    done = fork_python("-m", "pytest", "-q", "-p", "no:cacheprovider", *names)

    assert done.returncode == 0, done.stdout


@pytest.mark.needs("KMS")
def test_the_encryption_example_uses_its_kms_key(lab: Bucket) -> None:
    code = examples(ROOT / "docs" / "s3.md")
    (kms,) = [block for block in code if "aws:kms" in block]

    exec(compile(code[0] + kms, "s3.md", "exec"), {})

    stored = lab.Object("path/to/output/dir/sub001/bold/sub001_bold.nii.gz")
    assert stored.server_side_encryption == "aws:kms"
    assert str(stored.ssekms_key_id) in kms


def test_the_listing_example_prints_incomplete_uploads(
    lab: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    client, key = lab.meta.client, "path/to/output/dir/incomplete.dat"
    upload = client.create_multipart_upload(Bucket=lab.name, Key=key)["UploadId"]
    code = blocks(ROOT / "docs" / "s3.md", "python")
    (listing,) = [block for block in code if "list_multipart_uploads" in block]

    exec(compile(listing, "s3.md", "exec"), {})
    client.abort_multipart_upload(Bucket=lab.name, Key=key, UploadId=upload)

    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[-2:] == [key, upload]


@pages_with("json")
def test_the_json_of_a_page_can_be_read(page: Path) -> None:
    for text in blocks(page, "json"):
        json.loads(text)


def test_links_of_the_readme_are_absolute_on_pypi() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = README.read_text()

    for rule in hook["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)

    links = re.findall(r"\]\(([^)]+)\)", text)
    assert f"{project['project']['urls']['Homepage']}/blob/main/docs/s3.md" in links
    assert all(link.startswith("https://") for link in links)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, heading = target.partition("#")
        other = page.parent / name if name else page
        assert other.is_file(), target
        titles = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
        assert not heading or heading in anchors, target


def test_the_commands_of_make_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    pages = [README, ROOT / "CONTRIBUTING.md"]
    text = "".join(code for page in pages for code in blocks(page, "console"))
    commands = re.findall(r"^(?:\$ )?make ([a-z-]+)", text, re.MULTILINE)

    assert {"test", "lint"} <= set(commands) <= set(targets)


def test_the_page_of_the_command_lists_every_command() -> None:
    listed = {row[0].strip("`") for row in rows(ROOT / "docs" / "command.md", "command")}

    assert listed == set(nipype_datasink_command.commands)


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    listed = re.findall(
        r"^[\w-]+$", "".join(blocks(ROOT / "docs" / "index.md", "{toctree}")), re.MULTILINE
    )
    pages = {page.stem for page in PAGES} - {"README", "index", "reliability-numbers"}

    assert set(listed) == pages
    assert len(listed) == len(pages)
    linked = set(re.findall(r"\(([\w-]+)\.md", index))
    assert pages - linked == {"contributing", "changelog"}


def rows(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this heading."""
    table = page.read_text().split(f"\n| {heading} |")[1].split("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_readme_lists_every_error_with_its_base() -> None:
    listed = {row[0].strip("`"): row[1].strip("`") for row in rows(README, "error")}

    errors = {name for name in nipype_datasink.__all__ if name.endswith("Error")}
    assert set(listed) == errors - {"DataSinkError"}
    for name, base in listed.items():
        bases = [kind.__name__ for kind in getattr(nipype_datasink, name).__mro__]
        assert base in bases
        assert "DataSinkError" in bases


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    names = set(re.findall(r"nipype_datasink\.(\w+)", page))

    assert set(nipype_datasink.__all__) <= names


# Fields that only other modules of this library use.
INTERNAL_FIELDS = {
    "Prediction": {"hides_folders", "possible_destinations", "written_by"},
    "S3Prefix": {"injected_bucket"},
    "SinkPlan": {"paths"},
}


def test_the_api_page_has_every_field_of_a_value() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    listed = re.findall(r"autoclass:: ([\w.]+)\.(\w+)\n   :members: ?(.*)", page)
    checked = []
    for module, name, members in listed:
        value = getattr(importlib.import_module(module), name)
        if members and is_dataclass(value):
            names = {each.name for each in fields(value)}
            assert names - set(members.split(", ")) == INTERNAL_FIELDS.get(name, set()), name
            checked.append(name)

    assert set(INTERNAL_FIELDS) | {"Outcome", "VerifyReport"} <= set(checked)


def test_the_api_page_describes_every_input() -> None:
    traits = DataSinkInputSpec().traits()
    listed = dict(re.findall(r"^`(\w+)`\n: \*.+\*\n\n  (.+)$", inputs_as_markdown(), re.MULTILINE))

    events = {"trait_added", "trait_modified", "_outputs"}
    assert set(listed) == set(traits) - events
    for name, text in listed.items():
        assert traits[name].desc[1:] in text
    assert "<!-- inputs -->" in (ROOT / "docs" / "api.md").read_text()


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names = set(re.findall(r"`([\w/]+\.(?:py|md)|[\w/]+/)`", text))
    names.discard("src/nipype_datasink/")  # a wheel is tested without it

    roots = (ROOT, Path(nipype_datasink.__file__).parent, ROOT / "tests")
    assert len(names) >= 40
    assert [name for name in names if not any((root / name).exists() for root in roots)] == []


def differences() -> list[list[str]]:
    """Return the cells of all tables of differences; the last one ends with a footnote."""
    text = (ROOT / "docs" / "differences.md").read_text()
    tables = re.findall(r"^\| nipype \|.*\n\|-.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    lines = "".join(tables).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_difference_says_what_happens_here_and_why() -> None:
    assert len(differences()) >= 35
    for row in differences():
        assert len(row) == 3, row[0]
        assert all(row), row[0]


def test_every_difference_has_tests_that_exist() -> None:
    text = (ROOT / "docs" / "differences.md").read_text()
    footnotes = dict(re.findall(r"^\[\^(\w+)\]: ((?:.+\n)(?:    .+\n)*)", text, re.MULTILINE))
    module = ast.parse((ROOT / "tests" / "test_differences.py").read_text())
    tests = {
        item.name
        for item in module.body
        if isinstance(item, ast.FunctionDef) and item.name.startswith("test_")
    }

    marks = [re.findall(r"\[\^(\w+)\]$", reason) for *_, reason in differences()]

    assert sorted(mark for (mark,) in marks) == sorted(footnotes)
    for mark, footnote in footnotes.items():
        named = re.findall(r"`(\w+)`", footnote)
        assert named, mark
        assert set(named) <= tests, mark
