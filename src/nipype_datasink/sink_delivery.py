"""Deliver the plan of a sink to all its places, and write the manifest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from nipype_datasink.configuration import calling_node
from nipype_datasink.delivery.execution import Target, deliver, without_optional
from nipype_datasink.delivery.outcomes import Outcomes
from nipype_datasink.delivery.progress import Progress
from nipype_datasink.directory_warnings import warn_about_directories
from nipype_datasink.manifests import manifest_of
from nipype_datasink.planning.plan import Plan
from nipype_datasink.planning.routing import Rules
from nipype_datasink.targets import local_targets

if TYPE_CHECKING:
    from nipype_datasink.interface import DataSink


def deliver_plan(sink: DataSink, plan: Plan, rules: Rules, progress: Progress) -> Outcomes:
    """Deliver to the disk, then to S3, which fails more often; then write the manifest.

    Parameters
    ----------
    sink
        The sink.
    plan
        Its plan.
    rules
        What decides where its sources go.
    progress
        Shows how far the delivery is.

    Raises
    ------
    DeliveryError, MissingSourceError
        See `execution.deliver`.
    """
    settings, _ = sink._read_settings()
    manifest = manifest_of(sink, rules, plan)
    plan = without_optional(plan, skip_missing=settings.sink_missing == "skip")
    node = calling_node(sink.inputs)
    warn_about_directories(settings, in_node=node is not None)
    withdraw = manifest.withdraw if manifest else lambda: None
    targets = targets_of(sink, rules, withdraw)
    directory = node.output_dir() if node else None
    deliver_all = partial(deliver, plan, targets, list_directory=directory, progress=progress)
    return manifest.record(plan, progress, deliver_all) if manifest else deliver_all()


def targets_of(
    sink: DataSink, rules: Rules, before_removal: Callable[[], object] = lambda: None
) -> list[Target]:
    """Return the places of a sink, in the order in which they get their files.

    Parameters
    ----------
    sink
        The sink.
    rules
        What decides where its sources go.
    before_removal
        Called before the first file is removed.
    """
    settings, _ = sink._read_settings()
    return [
        *local_targets(settings, rules.locations, before_removal),
        *sink._s3_targets(settings, rules.locations, before_removal),
    ]
