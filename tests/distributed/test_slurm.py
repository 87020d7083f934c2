"""SLURM jobs report what is missing; cancelled jobs leave no incomplete object."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nipype import Node, Workflow

from nipype_datasink import DataSink
from tests.conftest import contents
from tests.distributed.proxy import Proxy
from tests.integration.test_sums import run_in_s3, run_on_disk
from tests.stores import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

pytestmark = pytest.mark.usefixtures("cluster", "workdir")

# If a job leaves no result, nipype (seen with 1.11) fails while it writes the crash file.
LOST_JOB_ERRORS = (RuntimeError, TypeError)

WITHOUT_ENVIRONMENT = {"sbatch_args": "--export=NONE"}


def sinking(source: Path, **inputs: Any) -> Workflow:
    inputs.setdefault("base_directory", "s3://mybucket/out")
    workflow = Workflow(name="study", base_dir=str(Path("work").resolve()))
    workflow.config["execution"] = {
        "crashdump_dir": str(Path("crashes").resolve()),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.1",
        "job_finished_timeout": "1",
    }
    node = Node(DataSink(**inputs), name="datasink")
    node.inputs.x = str(source.resolve())
    workflow.add_nodes([node])
    return workflow


def run(workflow: Workflow, **plugin_args: str) -> None:
    workflow.run(plugin="SLURM", plugin_args=plugin_args)


def crash_report() -> str:
    """Return the text of the one crash file."""
    (path,) = Path("crashes").glob("crash-*-datasink*")
    return path.read_text()


def output_of_jobs() -> str:
    return "".join(path.read_text() for path in Path("work").rglob("slurm-*.out"))


@pytest.fixture
def source(workdir: Path) -> Path:
    path = workdir / "a.nii"
    path.write_text("a")
    return path


@pytest.fixture
def keys(workdir: Path) -> str:
    path = workdir / "keys.csv"
    path.write_text(f"Access key ID,Secret access key\n{ACCESS_KEY},{SECRET_KEY}\n")
    return str(path)


def test_job_without_environment_uses_the_credentials_file(
    source: Path, keys: str, endpoint: str, bucket: Bucket
) -> None:
    run(sinking(source, creds_path=keys, s3_endpoint_url=endpoint), **WITHOUT_ENVIRONMENT)

    assert contents(bucket) == {"out/x/a.nii": b"a"}


def test_job_with_environment_uses_its_credentials(
    source: Path, endpoint: str, bucket: Bucket
) -> None:
    run(sinking(source, s3_endpoint_url=endpoint))

    assert contents(bucket) == {"out/x/a.nii": b"a"}


def crash_report_of(workflow: Workflow, **plugin_args: str) -> str:
    """Run a workflow whose sink fails in a job; return the text of the crash file."""
    with pytest.raises(RuntimeError):
        run(workflow, **plugin_args)
    report = crash_report()
    assert SECRET_KEY not in report
    return report


def test_job_without_credentials_names_the_credential_source(
    source: Path, endpoint: str, bucket: Bucket, pytestconfig: pytest.Config
) -> None:
    if pytestconfig.getoption("--store") == "moto":
        pytest.skip("moto accepts any credentials")

    report = crash_report_of(sinking(source, s3_endpoint_url=endpoint), **WITHOUT_ENVIRONMENT)

    assert "no credentials were found" in report
    assert "s3://mybucket/out" in report
    assert "(SLURM job " in report
    assert "credentials: not found; requests are not signed" in report
    assert "study.datasink" in report


def test_job_reports_an_unreadable_credentials_file(
    source: Path, endpoint: str, bucket: Bucket
) -> None:
    report = crash_report_of(sinking(source, creds_path="/gone/keys.csv", s3_endpoint_url=endpoint))

    assert "creds_path '/gone/keys.csv' cannot be read" in report
    assert "(SLURM job " in report
    assert "not tried: s3://mybucket/out/x/a.nii" in report


def test_job_reports_an_unreachable_store(source: Path, credentials: None) -> None:
    report = crash_report_of(sinking(source, s3_endpoint_url="http://127.0.0.1:9"))

    assert "http://127.0.0.1:9" in report
    assert "check s3_endpoint_url" in report
    assert "(AWS_ACCESS_KEY_ID in the environment)" in report


def test_job_reports_a_missing_package(source: Path, workdir: Path) -> None:
    package = workdir / "lacking" / "nipype_datasink"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'nipype_datasink'\")"
    )
    template = f"#!/bin/bash\nexport PYTHONPATH={package.parent}"

    with pytest.raises(LOST_JOB_ERRORS):
        run(sinking(source), template=template)

    (dump,) = Path("work").rglob("crashdump_*.pklz")
    assert b"No module named 'nipype_datasink'" in gzip.decompress(dump.read_bytes())


@pytest.mark.parametrize("place", ["out", "/tmp/somewhere"])
def test_directory_that_other_machines_do_not_share_causes_a_warning(
    source: Path, place: str, workdir: Path
) -> None:
    # The directory of these tests is below /tmp as well.
    run(sinking(source, base_directory=place if place == "out" else str(workdir / "out")))

    assert "base_directory" in output_of_jobs()
    expected = "is relative" if place == "out" else "which is local to each machine"
    assert expected in output_of_jobs()


def test_other_programs_accept_what_jobs_have_delivered(workdir: Path) -> None:
    run_on_disk(workdir, "SLURM")


def test_rclone_accepts_what_jobs_have_sent(
    workdir: Path, bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in_s3(workdir, "SLURM", bucket, endpoint, monkeypatch)


# Jobs that end during an upload.


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def run_and_stop(
    workflow: Workflow, proxy: Proxy, end: Callable[[], object], **plugin: Any
) -> None:
    """Run a workflow until its upload is halted by the proxy, then call `end`."""
    with ThreadPoolExecutor() as pool:
        running = pool.submit(workflow.run, **plugin)
        try:
            assert proxy.halted.wait(60)
            end()
            assert isinstance(running.exception(60), LOST_JOB_ERRORS)
        finally:
            proxy.resume.set()


@pytest.mark.parametrize("signal", [(), ("--signal=KILL", "--full")], ids=["cancelled", "killed"])
def test_cancelled_job_leaves_no_incomplete_object(
    large: Path, keys: str, bucket: Bucket, proxy: Proxy, signal: tuple[str, ...]
) -> None:
    workflow = sinking(large, creds_path=keys, s3_endpoint_url=proxy.address)

    def cancel() -> None:
        (job,) = output("squeue", "-h", "-o", "%i").split()
        output("scancel", *signal, job)

    run_and_stop(workflow, proxy, cancel, plugin="SLURM")

    assert contents(bucket) == {}
    assert "CANCELLED" in output_of_jobs()

    run(workflow)

    assert contents(bucket) == {"out/x/large.nii": large.read_bytes()}
