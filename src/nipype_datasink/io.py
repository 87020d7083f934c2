"""Replace ``nipype.interfaces.io``: ``import nipype_datasink.io as nio``.

All names are those of nipype, except `DataSink` and its input and output specifications.
"""

from __future__ import annotations

from typing import Any

from nipype.interfaces import io as _upstream

from nipype_datasink import inputs as _inputs
from nipype_datasink import interface as _interface

DataSink = _interface.DataSink
DataSinkInputSpec = _inputs.DataSinkInputSpec
DataSinkOutputSpec = _inputs.DataSinkOutputSpec

# The public names of the installed version of nipype.
__all__ = sorted(name for name in vars(_upstream) if not name.startswith("_"))  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    return getattr(_upstream, name)


def __dir__() -> list[str]:
    return __all__
