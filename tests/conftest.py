"""Common fixtures: a clean environment, a store, and a counter of requests."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from hypothesis import settings
from nipype import config

from nipype_datasink.delivery.progress import PhaseProgress, Progress
from nipype_datasink.delivery.progress_display import Hidden
from nipype_datasink.s3.client import forget_clients
from tests.ceph import radosgw
from tests.forks import RunPython, fork_server
from tests.stores import ACCESS_KEY, SECRET_KEY, moto, seaweedfs

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

_STORES = {"moto": moto, "seaweedfs": seaweedfs, "radosgw": radosgw}
# Features that tests may need (mark `needs`) and that a store does not have.
_MISSING_FEATURES = {
    "moto": set[str](),
    "seaweedfs": {"moto", "IAM", "KMS", "any credentials", "empty path parts", "requester pays"},
    "radosgw": {"moto", "IAM", "KMS", "any credentials"}
    | {"AES256", "checksums", "part sizes", "storage classes"},  # Ceph 16
}
_INTEGRATION = Path(__file__).parent / "integration"

# Each session of botocore parses its description of S3 anew, which takes longer than most tests.
botocore.session.create_loader = cache(botocore.session.create_loader)

settings.register_profile("steady", deadline=None, database=None)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for another store, longer runs and the cluster."""
    parser.addoption("--store", choices=list(_STORES), default="moto")
    parser.addoption("--soak", action="store_true", help="repeat random tests ten times as often")
    parser.addoption("--cluster", action="store_true", help="also run the tests that need SLURM")


def pytest_configure() -> None:
    """Enable Ctrl-C, which shells disable for background jobs; keep caches out of trees."""
    # Tests compare trees before and after a script runs, which may import modules beside it.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore tests that take long and need a real store."""
    if collection_path == _INTEGRATION and config.getoption("--store") == "moto":
        return True
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need a cluster, or a feature that the store does not have."""
    if "distributed" in item.path.parts and not item.config.getoption("--cluster"):
        pytest.skip("needs --cluster")
    needed = {feature for mark in item.iter_markers("needs") for feature in mark.args}
    if missing := needed & _MISSING_FEATURES[item.config.getoption("--store")]:
        pytest.skip(f"this store does not have: {', '.join(sorted(missing))}")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the credentials and the configuration of this machine from all tests."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    empty = tmp_path_factory.mktemp("aws")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(empty / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(empty / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NIPYPE_NO_ET", "1")


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    """Restore the section of nipype's configuration that tests change."""
    before = dict(config._sections["execution"])
    yield
    config._sections["execution"].clear()
    config._sections["execution"].update(before)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty working directory and enter it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def fork_python() -> Iterator[RunPython]:
    """Return a function that runs Python in a process that has imported this library."""
    with fork_server("nipype_datasink.cli") as run:
        yield run


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """Start the store of ``--store``; return its address."""
    with _STORES[request.config.getoption("--store")]() as address:
        yield address


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put access keys into the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture
def bucket(endpoint: str, credentials: None) -> Iterator[Bucket]:
    """Make an empty bucket ``mybucket``."""
    session = boto3.session.Session(
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1"
    )
    bucket = session.resource("s3", endpoint_url=endpoint).create_bucket(Bucket="mybucket")
    yield bucket
    bucket.objects.all().delete()
    bucket.delete()
    forget_clients()


@pytest.fixture
def provenance() -> None:
    """Enable nipype's provenance."""
    config.enable_provenance()


@contextmanager
def as_user(user: int) -> Iterator[None]:
    """Let another user be the effective one."""
    before = os.geteuid()
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the requests of botocore, and the files and requests of awscrt, by operation."""
    from awscrt.s3 import S3Client
    from botocore.client import BaseClient

    counts: Counter[str] = Counter()
    make = BaseClient._make_request  # type: ignore[attr-defined]

    def count(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        counts[model.name] += 1
        return make(self, model, *args, **kwargs)

    send = S3Client.make_request

    def count_file(self: Any, **kwargs: Any) -> Any:
        counts[kwargs.get("operation_name") or "PutObject"] += 1
        return send(self, **kwargs)

    monkeypatch.setattr(BaseClient, "_make_request", count)
    monkeypatch.setattr(S3Client, "make_request", count_file)
    return counts


def in_child(check: Callable[[], bool]) -> bool:
    """Return the result of `check` in a forked process."""
    child = os.fork()
    if not child:
        ok = False
        try:
            ok = check()
        finally:
            os._exit(0 if ok else 1)
    return os.waitpid(child, 0)[1] == 0


def contents(bucket: Bucket) -> dict[str, bytes]:
    """Return all objects of a bucket."""
    return {item.key: item.get()["Body"].read() for item in bucket.objects.all()}


def tree(directory: Path) -> dict[str, bytes | None]:
    """Return all files below `directory` with their bytes; None stands for a directory."""
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes()
        for path in sorted(directory.rglob("*"))
    }


class RecordedProgress(Progress):
    """A progress that keeps what it has shown: phases, and what they have counted."""

    def __init__(self) -> None:
        super().__init__(choose=Hidden)
        self.phases: list[PhaseProgress] = []
        self.counted: list[tuple[int, int]] = []

    def enter(self, phase: PhaseProgress) -> PhaseProgress:
        add = phase.add

        def record(*, files: int = 0, size: int = 0) -> None:
            self.counted.append((files, size))
            add(files=files, size=size)

        phase.add = record  # type: ignore[method-assign]
        self.phases.append(phase)
        return super().enter(phase)
