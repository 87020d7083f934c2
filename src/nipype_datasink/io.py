"""``nipype.interfaces.io`` with our `DataSink` in it: ``import nipype_datasink.io as nio``."""

from __future__ import annotations

from typing import Any

from nipype.interfaces import io as _upstream

from nipype_datasink import inputs as _inputs
from nipype_datasink import interface as _interface

DataSink = _interface.DataSink
DataSinkInputSpec = _inputs.DataSinkInputSpec
DataSinkOutputSpec = _inputs.DataSinkOutputSpec

# Whatever the installed nipype has.
__all__ = sorted(name for name in vars(_upstream) if not name.startswith("_"))  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    return getattr(_upstream, name)


def __dir__() -> list[str]:
    return __all__
