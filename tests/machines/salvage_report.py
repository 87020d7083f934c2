"""Compare what the report of `salvage` says of a sink with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nipype_datasink import SalvagedSink
from tests.model import Expected
from tests.salvage_model import Delivery


def check_report(
    done: SalvagedSink,
    delivery: Delivery,
    want: Expected,
    statuses: Mapping[str, str],
    path_of: Callable[[str], str],
) -> bool:
    """Check what is said of a sink; return whether its files are to be delivered."""
    undelivered = {
        (
            each.field,
            each.is_partial,
            frozenset((node.node, bool(node.crash_file)) for node in each.failed),
        )
        for each in done.undelivered
    }
    assert undelivered == delivery.undelivered, f"{undelivered}, not {delivery.undelivered}"
    is_refused = bool(want.refusals) or not delivery.is_possible
    assert bool(done.error) == is_refused, f"unexpected error: {done.error}"
    if not is_refused:
        found = {path_of(each.transfer.destination): each.status.value for each in done.outcomes}
        assert found == statuses, f"statuses: {found}, not {statuses}"
    return not is_refused
