"""Keep the manifests of sinks: one file for each sink, on disk or in S3."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from nipype_datasink.configuration import S3_INPUTS, calling_node, node_directory
from nipype_datasink.delivery.digests import digests_of
from nipype_datasink.delivery.manifest import ManifestRow, manifest_name, to_text
from nipype_datasink.delivery.manifest_rows import Circumstances, MissingFile, make_rows
from nipype_datasink.delivery.outcomes import Outcomes
from nipype_datasink.delivery.progress import Progress
from nipype_datasink.errors import DeliveryError, with_original
from nipype_datasink.inputs import fields_of
from nipype_datasink.planning.contents import companion_paths, split_extension
from nipype_datasink.planning.location import LocalDirectory, Location, S3Prefix
from nipype_datasink.planning.places import ancestors
from nipype_datasink.planning.plan import Delivery, FileTransfer, Plan
from nipype_datasink.planning.routing import Rules, route
from nipype_datasink.planning.s3_copy import S3Copy
from nipype_datasink.planning.sources import Problem
from nipype_datasink.settings import Settings
from nipype_datasink.signals import graceful_shutdown, is_time_limit
from nipype_datasink.targets import local_targets, s3_targets

if TYPE_CHECKING:
    from nipype_datasink.delivery.local import LocalTarget
    from nipype_datasink.interface import DataSink
    from nipype_datasink.s3.target import S3Target


class ManifestFile:
    """The file that holds the manifest of one sink.

    Parameters
    ----------
    target
        Directory on disk, or prefix in a bucket.
    name
        Name of the file.
    """

    def __init__(self, target: LocalTarget | S3Target, name: str) -> None:
        self._target = target
        location = target.location
        self.destination = location.resolve(posixpath.join(str(location), name))

    def withdraw(self) -> None:
        """Remove the manifest of an earlier run, before files that it lists are removed.

        Raises
        ------
        OSError
            If it cannot be removed.
        """
        self._target.remove(self.destination)

    def write(self, rows: Sequence[ManifestRow], progress: Progress) -> None:
        """Replace the manifest of an earlier run; its readers see the old or the new one.

        Raises
        ------
        DeliveryError
            If it cannot be written.
        """
        content = to_text(rows).encode("utf-8", "surrogateescape")
        try:
            with tempfile.TemporaryDirectory(prefix="nipype-datasink-") as directory:
                source = os.path.join(directory, "manifest.tsv")
                with open(source, "wb") as file:
                    file.write(content)
                plan = self._plan(source, len(content))
                progress.begin_place(self.destination, plan.transfers)
                outcomes = self._target.deliver(plan, progress)
        except OSError as error:
            if is_time_limit(error):
                raise
            raise with_original(DeliveryError(self._message(str(error))), error) from None
        causes = [outcome.cause for outcome in outcomes if outcome.cause]
        if not all(outcome.status.arrived for outcome in outcomes):
            explanation = self._target.explain(causes)
            message = f"{explanation.text}; {self._message(*map(str, causes))}"
            raise with_original(self._target.error(message, explanation.cause), explanation.cause)

    def _plan(self, source: str, size: int) -> Plan:
        transfer = FileTransfer(source=source, destination=self.destination, size=size)
        delivery = Delivery(
            field="sink_manifest_dir",
            source=source,
            destination=self.destination,
            location=self._target.location,
            transfers=(transfer,),
        )
        return Plan((delivery,))

    def _message(self, *causes: str) -> str:
        return ": ".join(
            [f"all files were delivered, but not the manifest {self.destination}", *causes]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest that a run of a sink will write."""

    file: ManifestFile
    """Where it is written."""

    node: str
    """Directory of the sink's node."""

    bases: Sequence[Location]
    """Base directory and local copy of the sink."""

    container: str
    """Folder below each of them."""

    s3_copy: S3Copy | None = None
    """S3 copy of the sink."""

    missing: Sequence[MissingFile]
    """Sources that are skipped."""

    def withdraw(self) -> None:
        """Remove the manifest of an earlier run; see `ManifestFile.withdraw`."""
        self.file.withdraw()

    def record(self, plan: Plan, progress: Progress, deliver: Callable[[], Outcomes]) -> Outcomes:
        """Deliver by a function; if that raises no error, write the manifest.

        Parameters
        ----------
        plan
            What the function delivers.
        progress
            Shows how far it is.
        deliver
            Returns the results.
        """
        sources = [transfer.source for transfer in plan.transfers]
        with graceful_shutdown():
            with digests_of(sources, progress) as digests:
                outcomes = deliver()
                digests.begin_waiting()
                bases = _bases(self.bases, self.container, self.s3_copy)
                circumstances = Circumstances(node=self.node, time=_now(), bases=bases)
                rows = make_rows(plan, outcomes, digests, self.missing, circumstances)
            try:
                self.file.write(rows, progress)
            except DeliveryError as error:
                error.outcomes = outcomes
                raise
        return outcomes


def _now() -> str:
    """Return the time in UTC; the milliseconds order sinks that deliver one after the other."""
    now = datetime.now(timezone.utc)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bases(
    bases: Sequence[Location], container: str, s3_copy: S3Copy | None = None
) -> Mapping[Location, str]:
    """Return the text of the base directory of each location."""
    found: dict[Location, str] = {}
    for base in bases:
        location = base.child(container)
        # An absolute container on disk replaces the base directory.
        is_below = f"{location}/".startswith(f"{str(base).rstrip('/')}/")
        place = base if is_below else location
        # Destinations have no links in their directories either.
        real = os.path.realpath(place.path) if isinstance(place, LocalDirectory) else place.label
        found.setdefault(location, real)
    if s3_copy:
        found[s3_copy.location] = s3_copy.base.label
    return found


def manifest_of(sink: DataSink, rules: Rules, plan: Plan) -> Manifest | None:
    """Return the manifest that a sink will write; None if no manifest is asked for.

    Parameters
    ----------
    sink
        The sink.
    rules
        What decides where its sources go.
    plan
        Plan of the sink; its missing sources get rows if they are skipped.
    """
    settings, base = sink._read_settings()
    location = settings.manifest_location(base)
    if location is None:
        return None
    node = calling_node(sink.inputs)
    directory = node_directory(node) if node else ""
    fields = () if node else sorted(fields_of(sink.inputs))
    # Without the S3 copy: with it and without it, a rerun replaces the same manifest.
    bases = replace(settings, s3_copy=None).bases(base)
    skipped = plan.missing if settings.sink_missing == "skip" else ()
    identity = (*map(str, bases), settings.container, *fields)
    return Manifest(
        file=ManifestFile(
            manifest_target(sink, location, settings.bases(base)),
            manifest_name(directory, *identity),
        ),
        node=directory,
        bases=bases,
        container=settings.container,
        s3_copy=rules.s3_copy,
        # Without a log line for each substituted path: these files are not delivered.
        missing=_missing_files(skipped, replace(rules, substitute=sink._substitute), plan),
    )


def manifest_target(
    sink: DataSink, location: Location, bases: Sequence[Location]
) -> LocalTarget | S3Target:
    """Return the place of the manifest; in a bucket of the sink, its own bucket object."""
    settings = Settings.from_inputs(
        sink.inputs, S3_INPUTS if isinstance(location, S3Prefix) else ()
    )
    if isinstance(location, LocalDirectory):
        (local_target,) = local_targets(replace(settings, local_hardlink=False), [location])
        return local_target
    own = {base.actual_bucket for base in bases if isinstance(base, S3Prefix)}
    own.add(getattr(settings.bucket, "name", ""))
    name = location.actual_bucket
    open_bucket = sink._open_bucket if name in own else lambda: sink._fetch_bucket(name)
    # The AWS Common Runtime would be started for one small file. This is not the S3 copy.
    settings = replace(settings, s3_transfer_client="classic", s3_copy=None)
    (s3_target,) = s3_targets(settings, [location], settings.access(sink.inputs), open_bucket)
    return s3_target


def _missing_files(skipped: Sequence[Problem], rules: Rules, plan: Plan) -> list[MissingFile]:
    known = _destinations(plan) if skipped else {}
    return [
        MissingFile(
            field=problem.field,
            source=problem.value,
            destination=_destination(problem, location, rules, known),
            location=location,
        )
        for problem in skipped
        for location in rules.locations
    ]


def _destinations(plan: Plan) -> dict[tuple[Location, str, str], str]:
    """Return where directories and companions go, by location, field and path.

    A companion has the name of its file at the destination; substitutions do not see its own.
    """
    found: dict[tuple[Location, str, str], str] = {}
    for item in plan.deliveries:
        stem, _ = split_extension(item.destination)
        parts = {path: stem + split_extension(path)[1] for path in companion_paths(item.source)}
        for path, destination in {item.source: item.destination, **parts}.items():
            found.setdefault((item.location, item.field, path), destination)
    return found


def _destination(
    problem: Problem,
    location: Location,
    rules: Rules,
    known: Mapping[tuple[Location, str, str], str],
) -> str:
    """Return where a missing source would have gone; empty text if it could not go anywhere."""
    for path in (problem.value, *ancestors(problem.value)):
        if destination := known.get((location, problem.field, path)):
            return destination + problem.value.removeprefix(path)
    try:
        return location.resolve(route(problem.value, problem.field, location, rules))
    except OSError:  # a `DestinationError`, or of a subclass's `_get_dst`, which may read the file
        return ""
