"""Start Ceph's object gateway with a monitor and one store in memory, on 127.0.0.1."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import boto3

from tests.stores import (
    ACCESS_KEY,
    MANUAL_ACCESS_KEY,
    ROLES,
    SECRET_KEY,
    free_ports,
    running,
)

_PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "ceph")
_START_SECONDS = 60  # seconds
_ALLOWED = {
    "Write": ["s3:PutObject", "s3:AbortMultipartUpload"],
    "Read": ["s3:GetObject"],
    "List": ["s3:ListBucket"],
}
_SETTINGS = """\
[global]
fsid = {fsid}
mon host = {monitor}
keyring = {directory}/keyring
log file = {directory}/$name.log
run dir = {directory}
admin socket = {directory}/$name.$pid.asok
pid file =
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd objectstore = memstore
memstore device bytes = 8589934592
osd crush chooseleaf type = 0
osd crush update on start = false
osd pool default size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
[client]
rgw frontends = beast endpoint=127.0.0.1:{port}
"""


@contextmanager
def radosgw() -> Iterator[str]:
    """Yield the address of a gateway, whose code is independent of the other stores."""
    missing = [program for program in _PROGRAMS if not shutil.which(program)]
    if missing:
        raise FileNotFoundError(
            f"{missing} not installed; run: apt install radosgw ceph-mon ceph-osd"
        )
    with tempfile.TemporaryDirectory(prefix="ceph-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        monitor_port, port = free_ports(2)
        monitor = f"v2:127.0.0.1:{monitor_port}/0"
        settings = _SETTINGS.format(fsid=uuid4(), monitor=monitor, directory=directory, port=port)
        (directory / "ceph.conf").write_text(settings)
        _make_keys(directory)
        with _monitor(directory, monitor, monitor_port), _storage(directory):
            address = f"http://127.0.0.1:{port}"
            _run(directory, "radosgw-admin", *_user("tests", ACCESS_KEY), "--caps=user-policy=*")
            _run(
                directory,
                *("radosgw-admin", "key", "create", "--uid=tests", "--key-type=s3"),
                *_keys(MANUAL_ACCESS_KEY),
            )
            for key in ROLES:
                _run(directory, "radosgw-admin", *_user(key.lower(), key))
            command = _command(directory, "radosgw", "--foreground", "--id=admin")
            with running(command, directory / "radosgw.out", port):
                _give_permissions(address)
                yield address


def _command(directory: Path, program: str, *args: str) -> list[str]:
    return [program, f"--conf={directory}/ceph.conf", *args]


def _run(directory: Path, program: str, *args: str) -> None:
    done = subprocess.run(
        _command(directory, program, *args),
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")


def _make_keys(directory: Path) -> None:
    allowed = {
        "mon.": {"mon": "allow *"},
        "client.admin": {"mon": "allow *", "osd": "allow *"},
        "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    }
    keyring = str(directory / "keyring")
    _run(directory, "ceph-authtool", "--create-keyring", keyring)
    for name, capabilities in allowed.items():
        caps = [word for part in capabilities.items() for word in ("--cap", *part)]
        _run(directory, "ceph-authtool", keyring, "--gen-key", "--name", name, *caps)


@contextmanager
def _monitor(directory: Path, address: str, port: int) -> Iterator[None]:
    args = ["--id=a", f"--mon-data={directory}/mon", f"--public-addr={address}"]
    _run(directory, "ceph-mon", *args, "--mkfs", f"--keyring={directory}/keyring")
    command = _command(directory, "ceph-mon", *args, "--foreground")
    with running(command, directory / "mon.out", port):
        yield


@contextmanager
def _storage(directory: Path) -> Iterator[None]:
    uuid = str(uuid4())
    data = directory / "osd"
    data.mkdir()
    args = ["--id=0", f"--osd-data={data}"]
    _run(directory, "ceph", "osd", "new", uuid)
    _run(directory, "ceph-osd", *args, "--mkfs", f"--osd-uuid={uuid}")
    with running(_command(directory, "ceph-osd", *args, "--foreground"), directory / "osd.out"):
        _run(directory, "ceph", "osd", "crush", "add", "osd.0", "1", "root=default")
        yield


def _user(name: str, key: str) -> list[str]:
    return ["user", "create", f"--uid={name}", f"--display-name={name}", *_keys(key)]


def _keys(key: str) -> list[str]:
    return [f"--access-key={key}", f"--secret-key={SECRET_KEY}"]


def _give_permissions(address: str) -> None:
    """Give each user of `ROLES` its permissions, and the tests permission to read all objects."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    iam = session.client("iam", endpoint_url=address)
    rights = {
        key.lower(): [action for role in roles for action in _ALLOWED[role]]
        for key, roles in ROLES.items()
    }
    for name, actions in {**rights, "tests": ["s3:*"]}.items():
        statement = {"Effect": "Allow", "Action": actions, "Resource": "arn:aws:s3:::*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        if actions:
            iam.put_user_policy(UserName=name, PolicyName="role", PolicyDocument=policy)
