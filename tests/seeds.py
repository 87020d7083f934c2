"""Faults of kinds that the library has had, to be put into it again: the model finds each.

Each replaces functions of the library; a name that no longer exists is an error of the test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from nipype_datasink import Status, manifests, sink_delivery
from nipype_datasink.delivery import execution, local, removal
from nipype_datasink.delivery.digests import digests_of
from nipype_datasink.delivery.manifest_rows import Circumstances, make_rows
from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.delivery.outcomes import Outcomes
from nipype_datasink.planning import contents, routing, validation
from nipype_datasink.s3 import listing
from nipype_datasink.workflows import results, salvage


@dataclass(frozen=True)
class Seed:
    """A fault, and the machine that is to find it."""

    machine: str
    replacements: Mapping[str, Any]
    """What takes the place of what, below `nipype_datasink`."""


def _forget_missing(*args: Any, **kwargs: Any) -> Any:
    return replace(_make_valid_plan(*args, **kwargs), missing=())


def _existing_companions(source: Any) -> Iterator[Any]:
    for path in contents.companion_paths(source.path):
        if os.path.lexists(path) and not os.path.isdir(path):
            yield contents._find_file(source.field, path, "")


def _write_in_place(source: str, destination: str, *_: object) -> None:
    with open(source, "rb") as file:
        data = file.read()
    descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


@contextmanager
def _kept_after_errors(_path: str) -> Iterator[None]:
    yield


def _keep_first(plan: Any) -> Any:
    return _paths_to_keep(replace(plan, deliveries=plan.deliveries[:1]))


def _remove_first(self: Any, plan: Any, progress: Any) -> Any:
    if os.path.isdir(self.location.path):
        removal.remove_others(plan, "/nowhere")
    return _deliver(self, plan, progress)


def _regular_first(self: Any, path: str, *, root: str = "") -> str:
    regular = replace(self, literal=())
    return _apply(replace(self, regular=()), _apply(regular, path, root=root), root=root)


def _tell_the_last(*args: Any) -> Any:
    error = _make_error(*args)
    error.outcomes = Outcomes(error.outcomes[-1:])
    return error


def _list_neighbours(client: Any, bucket: str, prefix: str, extra: Any) -> Iterator[str]:
    return _list_keys(client, bucket, prefix.rstrip("/"), extra)


def _record_first(self: Any, plan: Any, progress: Any, deliver: Callable[[], Any]) -> Any:
    outcomes = [
        Outcome(transfer=item, status=Status(local._change(item).value)) for item in plan.transfers
    ]
    bases = manifests._bases(self.bases, self.container)
    with digests_of((item.source for item in plan.transfers), progress) as digests:
        circumstances = Circumstances(node=self.node, time="", bases=bases)
        self.file.write(make_rows(plan, outcomes, digests, self.missing, circumstances))
    return deliver()


def _withdraw_first(plan: Any, base: str, *, before: Callable[[], object], **options: Any) -> Any:
    before()
    return _remove_others(plan, base, **options)


def _bucket_first(*args: Any) -> Any:
    return _targets_of(*args)[::-1]


def _forget_missing_after_failures(failed: Any, missing: Any, *args: Any) -> Any:
    return _make_error(failed, () if failed else missing, *args)


def _route_to_address(source: str, field: str, location: Any, rules: Any) -> str:
    return _route(source, field, location, replace(rules, s3_copy=None))


def _has_any_result(node: Any) -> bool:
    return os.path.exists(results._result_file(node))


def _wholly_undelivered(run: Any) -> Iterator[Any]:
    return (each for each in _undelivered_inputs(run) if not each.is_partial)


def _always(result: object) -> Callable[..., Any]:
    return lambda *_args, **_kwargs: result


_make_valid_plan = validation.make_valid_plan
_paths_to_keep = removal._paths_to_keep
_remove_others = removal.remove_others
_deliver = local.LocalTarget.deliver
_apply = routing.Substitutions.apply
_make_error = execution._make_error
_route = routing.route
_targets_of = sink_delivery.targets_of
_list_keys = listing.list_keys
_undelivered_inputs = salvage._undelivered_inputs

SEEDS = {
    "missing sources are not named": Seed(
        "DirectoryMachine", {"interface.make_valid_plan": _forget_missing}
    ),
    "folders are cleared though a source is missing": Seed(
        "DirectoryMachine", {"planning.plan.Plan.without_removals": lambda self: self}
    ),
    "folders are cleared though a file has failed": Seed(
        "DirectoryMachine", {"delivery.local.all": _always(True)}
    ),
    "folders are cleared before anything is delivered": Seed(
        "DirectoryMachine", {"delivery.local.LocalTarget.deliver": _remove_first}
    ),
    "what the same run has delivered is removed": Seed(
        "DirectoryMachine", {"delivery.removal._paths_to_keep": _keep_first}
    ),
    "files of one size count as equal": Seed(
        "DirectoryMachine", {"delivery.file_writer.same_bytes": _always(True)}
    ),
    "files are written in place": Seed(
        "DirectoryMachine", {"delivery.file_writer.copy": _write_in_place}
    ),
    "temporary files stay after an error": Seed(
        "DirectoryMachine", {"delivery.atomic._removed_after_error": _kept_after_errors}
    ),
    "a companion that cannot be looked at is left out": Seed(
        "DirectoryMachine", {"planning.contents._find_companions": _existing_companions}
    ),
    "the last of two sources wins": Seed(
        "DirectoryMachine", {"planning.validation.check_collisions": _always(None)}
    ),
    "a directory in the way is noticed too late": Seed(
        "DirectoryMachine", {"planning.validation._check_obstacles": _always(None)}
    ),
    "regular expressions come first": Seed(
        "DirectoryMachine", {"planning.routing.Substitutions.apply": _regular_first}
    ),
    "outcomes of other places are lost": Seed(
        "DirectoryMachine", {"delivery.execution._make_error": _tell_the_last}
    ),
    "a manifest is written before the files": Seed(
        "DirectoryMachine", {"manifests.Manifest.record": _record_first}
    ),
    "a manifest stays when files that it lists are removed": Seed(
        "DirectoryMachine", {"manifests.ManifestFile.withdraw": _always(None)}
    ),
    "a manifest is removed though nothing else is": Seed(
        "DirectoryMachine", {"delivery.local.remove_others": _withdraw_first}
    ),
    "names that differ in case overwrite each other": Seed(
        "FoldingMachine",
        {
            "delivery.local._similarly_named": _always({}),
            "planning.collisions.group_similar_names": _always([]),
        },
    ),
    "objects of one size count as equal": Seed(
        "BucketMachine", {"s3.file_comparison.FileComparison._compare_digests": _always(None)}
    ),
    "objects beside a folder are deleted": Seed(
        "BucketMachine", {"s3.deletion.list_keys": _list_neighbours}
    ),
    "objects are deleted though a file has failed": Seed(
        "BucketMachine", {"s3.target.all": _always(True)}
    ),
    "objects that are not encrypted count as unchanged": Seed(
        "BucketMachine", {"s3.bucket_client.BucketClient.encryption": property(_always(None))}
    ),
    "the copy in S3 is sent before the tree on disk is complete": Seed(
        "S3CopyMachine", {"sink_delivery.targets_of": _bucket_first}
    ),
    "a failure of the copy in S3 hides that a source is missing": Seed(
        "S3CopyMachine", {"delivery.execution._make_error": _forget_missing_after_failures}
    ),
    "rules see the address of the copy in S3": Seed(
        "S3CopyMachine", {"planning.plan.route": _route_to_address}
    ),
    "results of other inputs are salvaged": Seed(
        "SalvageMachine", {"workflows.partial_results.has_result": _has_any_result}
    ),
    "inputs that are delivered in part are not named": Seed(
        "SalvageMachine", {"workflows.salvage._undelivered_inputs": _wholly_undelivered}
    ),
    "sinks are salvaged though their container is not known": Seed(
        "SalvageMachine", {"workflows.salvage._obstacle": _always("")}
    ),
}
