"""Provide a drop-in replacement for nipype's `DataSink` that delivers safely to disk and S3."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nipype_datasink.delivery.check_report import CheckReport, CheckStep, PlaceReport
from nipype_datasink.delivery.outcome import Outcome, Status
from nipype_datasink.delivery.outcomes import Outcomes
from nipype_datasink.delivery.verify_report import VerifyReport
from nipype_datasink.errors import (
    CollisionError,
    CredentialsError,
    DataSinkError,
    DeliveryError,
    DestinationError,
    LateCollisionError,
    ManifestError,
    MissingSourceError,
    S3Error,
    SalvageError,
    SettingsError,
    SourceError,
)
from nipype_datasink.inputs import DataSinkInputSpec, DataSinkOutputSpec
from nipype_datasink.installation import install
from nipype_datasink.interface import DataSink
from nipype_datasink.manifest_verification import verify
from nipype_datasink.planning.plan import Delivery, FileTransfer, Plan

if TYPE_CHECKING:
    from nipype_datasink.workflows.check import check
    from nipype_datasink.workflows.clashes import Clash
    from nipype_datasink.workflows.failed_nodes import FailedNode
    from nipype_datasink.workflows.plan import WorkflowPlan, plan
    from nipype_datasink.workflows.prediction import Prediction, SinkPlan
    from nipype_datasink.workflows.salvage import salvage
    from nipype_datasink.workflows.salvage_report import (
        SalvagedSink,
        SalvageReport,
        UndeliveredInput,
    )

__version__ = "0.1.0"

__all__ = [
    "CheckReport",
    "CheckStep",
    "Clash",
    "CollisionError",
    "CredentialsError",
    "DataSink",
    "DataSinkError",
    "DataSinkInputSpec",
    "DataSinkOutputSpec",
    "Delivery",
    "DeliveryError",
    "DestinationError",
    "FailedNode",
    "FileTransfer",
    "LateCollisionError",
    "ManifestError",
    "MissingSourceError",
    "Outcome",
    "Outcomes",
    "PlaceReport",
    "Plan",
    "Prediction",
    "S3Error",
    "SalvageError",
    "SalvageReport",
    "SalvagedSink",
    "SettingsError",
    "SinkPlan",
    "SourceError",
    "Status",
    "UndeliveredInput",
    "VerifyReport",
    "WorkflowPlan",
    "check",
    "install",
    "plan",
    "salvage",
    "verify",
]

# Pipelines and their workers seldom need these, and importing them takes as long as the rest.
_IMPORTED_WHEN_USED = {
    "Clash": "clashes",
    "FailedNode": "failed_nodes",
    "Prediction": "prediction",
    "SalvageReport": "salvage_report",
    "SalvagedSink": "salvage_report",
    "SinkPlan": "prediction",
    "UndeliveredInput": "salvage_report",
    "WorkflowPlan": "plan",
    "check": "check",
    "plan": "plan",
    "salvage": "salvage",
}


def __getattr__(name: str) -> Any:
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.workflows.{_IMPORTED_WHEN_USED[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
