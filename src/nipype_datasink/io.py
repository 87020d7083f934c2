"""``nipype.interfaces.io`` with our `DataSink` in it: ``import nipype_datasink.io as nio``."""

from __future__ import annotations

from typing import Any

from nipype.interfaces import io as _upstream

__all__ = sorted(  # noqa: PLE0605 - whatever the installed nipype has
    {"DataSink", "DataSinkInputSpec", "DataSinkOutputSpec"}
    | {name for name in vars(_upstream) if not name.startswith("_")}
)


def __getattr__(name: str) -> Any:
    return getattr(_upstream, name)


def __dir__() -> list[str]:
    return __all__
