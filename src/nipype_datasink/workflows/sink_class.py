"""Let sinks of nipype's class be seen as sinks of this library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nipype.interfaces import io as upstream

from nipype_datasink.interface import DataSink

# Methods that subclasses of nipype's class override, to change where files go.
_ROUTING = ("_get_dst", "_substitute")


def own_class(interface: Any) -> DataSink:
    """Return the sink, or a sink of this library that does the same as one of nipype's class."""
    if isinstance(interface, DataSink):
        return interface
    own = DataSink(infields=interface._infields)
    known = set(interface.inputs.class_trait_names()) & set(own.inputs.copyable_trait_names())
    own.inputs.trait_set(**{name: getattr(interface.inputs, name) for name in known - {"_outputs"}})
    for field, value in interface.inputs._outputs.items():
        setattr(own.inputs, field, value)
    for name in _ROUTING:
        method: Callable[[str], str] = getattr(interface, name)
        if getattr(method, "__func__", None) is not getattr(upstream.DataSink, name):
            setattr(own, name, method)
    return own
