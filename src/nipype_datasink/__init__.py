"""Provide a drop-in replacement for nipype's `DataSink` that delivers safely to disk and S3."""

from __future__ import annotations

from nipype_datasink.delivery.check_report import CheckReport, CheckStep, PlaceReport
from nipype_datasink.delivery.execution import Outcome, Status
from nipype_datasink.errors import (
    CollisionError,
    CredentialsError,
    DataSinkError,
    DeliveryError,
    DestinationError,
    LateCollisionError,
    MissingSourceError,
    S3Error,
    SettingsError,
    SourceError,
)
from nipype_datasink.inputs import DataSinkInputSpec, DataSinkOutputSpec
from nipype_datasink.installation import install
from nipype_datasink.interface import DataSink
from nipype_datasink.planning.plan import Delivery, FileTransfer, Plan
from nipype_datasink.workflows.check import check
from nipype_datasink.workflows.clashes import Clash
from nipype_datasink.workflows.plan import WorkflowPlan, plan
from nipype_datasink.workflows.prediction import Prediction, SinkPlan

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
    "FileTransfer",
    "LateCollisionError",
    "MissingSourceError",
    "Outcome",
    "PlaceReport",
    "Plan",
    "Prediction",
    "S3Error",
    "SettingsError",
    "SinkPlan",
    "SourceError",
    "Status",
    "WorkflowPlan",
    "check",
    "install",
    "plan",
]
