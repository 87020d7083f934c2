"""Random steps with sinks into a bucket."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import pytest
from awscrt import s3 as awscrt_s3
from hypothesis import strategies as st
from hypothesis.stateful import rule

from nipype_datasink import Status
from nipype_datasink.s3 import client
from tests import stores
from tests.faultproxy import Fault, Faults, Proxy
from tests.machines import manifests, values
from tests.machines.checks import Ended, Seen
from tests.machines.directory import DirectoryMachine
from tests.machines.moments import Calls, Moment, is_killed
from tests.machines.objects import BUCKET, MotoObjects, Objects, StoreObjects, moto_in_process
from tests.model import Expected, Files, Sink

# Faults after which no request waits: a client that has no response waits for minutes.
FAULTS = [kind.name for kind in Fault if kind is not Fault.TRICKLE]


class BucketMachine(DirectoryMachine):
    """Sinks into a bucket, with their copies on disk."""

    large: ClassVar[bytes] = bytes(8 << 20) + b"large"  # sent in two parts
    in_bucket: ClassVar[str] = "base"  # place
    prefixes = itertools.count()
    store: ClassVar[str] = ""  # address; that of moto, started here, if it is empty
    objects: ClassVar[Objects]
    proxy: ClassVar[Proxy]

    def prepare(self) -> None:
        self.prefix = f"{os.getpid()}/{next(self.prefixes)}/"
        self.endpoint = self.objects.endpoint

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            for key, _, _ in list(self.objects.look(self.prefix)):
                self.objects.delete(key)

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[None]:
        with ExitStack() as stack:
            environment = stack.enter_context(pytest.MonkeyPatch.context())
            environment.setenv("AWS_ACCESS_KEY_ID", stores.ACCESS_KEY)
            environment.setenv("AWS_SECRET_ACCESS_KEY", stores.SECRET_KEY)
            environment.setenv("AWS_MAX_ATTEMPTS", "1")
            environment.setattr("nipype_datasink.s3.crt.client.CrtClient", _impatient_client())
            stack.callback(client.forget_clients)
            if cls.store:
                cls.objects = StoreObjects(cls.store)
            else:
                cls.objects = MotoObjects(stack.enter_context(moto_in_process()))
            cls.proxy = stack.enter_context(stores.faulty(cls.objects.endpoint))
            yield

    # Destinations.

    @classmethod
    def has_folders(cls, place: str) -> bool:
        return place != cls.in_bucket

    def is_key(self, path: str) -> bool:
        return not self.has_folders(path.split("/", maxsplit=1)[0])

    def address(self, path: str) -> str:
        if self.is_key(path):
            return f"s3://{BUCKET}/{self.prefix}{path}"
        return super().address(path)

    def look(self) -> Seen:
        seen = super().look()
        for key, data, version in self.objects.look(self.prefix):
            path = key.removeprefix(self.prefix)
            seen.files[path], seen.versions[path] = data, version
        seen.separate(manifests.PLACES.values())
        return seen

    def names(self) -> list[str]:
        return sorted(self.look().files)

    def put(self, path: str, data: bytes | None) -> None:
        if not self.is_key(path):
            super().put(path, data)
        elif data is None:
            if path in self.look().files:
                self.objects.delete(self.prefix + path)
        else:
            self.objects.put(self.prefix + path, data)

    def store_options(self) -> dict[str, Any]:
        return {"endpoint_url": self.objects.endpoint}

    # Runs.

    def is_killed(self, sink: Sink, moment: Moment) -> bool:
        clients = dict(client._resources)

        def run() -> None:
            # The child keeps the clients, which take longer to make than all else, without their
            # connections, which are the parent's.
            for resource in clients.values():
                connections: Any = resource.meta.client
                connections._endpoint.http_session._manager.clear()
            client._resources.update(clients)
            self.deliver(sink)

        killed = is_killed(run, moment)
        self.wait_for_late_requests()
        return killed

    def wait_for_late_requests(self) -> None:
        """Wait until the store has done what a killed process has requested."""
        seen = None
        while seen != (now := (self.look(), self.uploads())):
            seen = now
            time.sleep(0.05)

    def leave_out_truncated(
        self, wanted: Sequence[Expected], before: Seen, after: Seen, ended: Ended | None = None
    ) -> None:
        """Leave out truncated objects of requests that failed; delete empty ones of manifests.

        SeaweedFS and moto store an empty object if the connection ends before the first byte of
        the body. If a source changes during its request, as many bytes are sent as it had before.
        """
        for path in [path for path in after.files if self.is_key(path)]:
            if _is_truncated(path, after.files[path], wanted) and (
                ended is None or ended.statuses.get(path) is Status.FAILED
            ):
                for files in (before.files, after.files, *(want.files for want in wanted)):
                    files.pop(path, None)
                if ended is not None:
                    del ended.statuses[path]
        for path in [path for path, text in after.manifests.items() if not text]:
            self.objects.delete(self.prefix + path)
            for manifests_there in (before.manifests, after.manifests):
                manifests_there.pop(path, None)

    def own_inputs(self, sink: Sink) -> dict[str, Any]:
        return {
            **super().own_inputs(sink),
            "s3_endpoint_url": self.endpoint,
            "s3_transfer_client": sink.transport,
            "encrypt_bucket_keys": sink.encrypt,
        }

    def run(self, sink: Sink, disturbance: Any = None, strangers: Mapping[str, Any] = {}) -> None:
        before = self.uploads()  # a request of a killed process may begin one after its end
        super().run(sink, disturbance, strangers)
        uploads = self.uploads() - before
        assert not uploads, f"multipart uploads remain: {uploads}"

    def may_have_manifest(
        self, sink: Sink, want: Expected, before: Seen, after: Seen, ended: Ended
    ) -> bool:
        """Return whether the store has taken a manifest though the run has ended with an error."""
        arrived = all(status.arrived for status in ended.statuses.values())
        in_bucket = self.is_key(manifests.PLACES.get(sink.manifests, ""))
        return in_bucket and arrived and self.manifests.has_new(sink, want, before, after)

    def may_stay(self, sink: Sink, path: str, before: Seen) -> bool:
        return not sink.encrypt or not self.is_key(path)

    def check_unchanged(self, sink: Sink, want: Expected, before: Seen, after: Seen) -> None:
        super().check_unchanged(sink, want, before, after)
        for path in filter(self.is_key, want.files if sink.encrypt else ()):
            stays = path in before.files and after.versions.get(path) == before.versions[path]
            encrypted = path not in after.files or self.objects.is_encrypted(self.prefix + path)
            assert encrypted or (want.refusals and stays), f"{path!r} is not encrypted"

    def clean_up(self, litter: set[str], want: Expected, sink: Sink) -> None:
        super().clean_up(litter, want, sink)
        self.abort_uploads()

    def check_nipype(self, sink: Sink, before: Seen, want: Expected) -> set[str] | None:
        super().check_nipype(sink, before, want)
        return None  # a bucket has no hard links

    def abort_uploads(self) -> None:
        for key, upload in self.uploads():
            self.objects.abort(key, upload)

    def uploads(self) -> set[tuple[str, str]]:
        """Return the multipart uploads of this sequence that have not ended."""
        return {each for each in self.objects.uploads() if each[0].startswith(self.prefix)}

    @rule(
        sink=values.LAST_OR,
        kind=st.sampled_from(FAULTS),
        only=st.sampled_from(["", "GET", "PUT", "POST", "HEAD"]),
        after=st.integers(0, 4),
        lasting=st.booleans(),
    )
    def sink_over_fault(
        self, sink: Sink | None, kind: str, only: str, after: int, lasting: bool
    ) -> None:
        self.counts["sink_over_fault"] += 1
        most = 100 if lasting else 1
        faults = Faults(kinds=(Fault[kind],), only=only, after=after, most=most, pause=0.01)
        sink, before = sink or self.last, self.look()
        want = self.expected(sink, before)
        super().run(sink, self.faulty(faults))
        self.abort_uploads()  # a fault may also be the response to the library's own abort
        self.check_disk(sink, want, before.files)

    def check_disk(self, sink: Sink, want: Expected, before: Files) -> None:
        """Check that the tree on disk is complete, whatever has happened in the bucket."""
        wanted = before if want.refusals else want.after(before)
        after = self.look().files
        # Nothing is removed if the manifest is in the bucket and cannot be withdrawn.
        may_stay = want.removed if self.is_key(manifests.PLACES.get(sink.manifests, "")) else ()
        for path in {*wanted, *after} - {*may_stay}:
            same = after.get(path) == wanted.get(path)
            assert same or self.is_key(path), f"{path!r} depends on the bucket"

    @contextmanager
    def faulty(self, faults: Faults) -> Iterator[Calls]:
        self.proxy.set(faults)
        self.endpoint, acted = self.proxy.address, [0]
        try:
            yield acted
        finally:
            acted[0] = self.proxy.hits().total()
            self.endpoint = self.objects.endpoint


def _is_truncated(path: str, data: bytes, wanted: Sequence[Expected]) -> bool:
    """Return whether an object is not what is wanted, but a part of it.

    It is empty, or has as many bytes of a source as it had before.
    """
    old, new = (each.files.get(path) for each in (wanted[0], wanted[-1]))
    return data not in (old, new) and data in (b"", (new or b"")[: len(old or b"")])


def _impatient_client() -> Any:
    """Return the class of the runtime's clients; where it can, it waits little between attempts."""
    retries = getattr(awscrt_s3, "S3RetryConfig", None)
    if retries is None:
        return awscrt_s3.S3Client
    config = retries(max_retries=1, backoff_scale_factor_ms=1, max_backoff_secs=1)
    return functools.partial(awscrt_s3.S3Client, retry_config=config)
