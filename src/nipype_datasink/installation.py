"""Putting our `DataSink` in the place of nipype's, for pipelines that nobody wants to edit."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator
from multiprocessing import spawn
from types import FunctionType, ModuleType
from typing import Any

import nipype
import nipype.interfaces
from nipype import Node
from nipype.interfaces import io as upstream

from nipype_datasink.inputs import DataSinkInputSpec
from nipype_datasink.interface import DataSink

__all__ = ["install"]

_MODULES = (upstream, nipype.interfaces, nipype)


def install() -> None:
    """Make `DataSink` of nipype this library's, wherever nipype offers it.

    Call it before anything else imports the class: ``from nipype.interfaces.io import DataSink``
    and ``nio.DataSink`` mean ours from then on, also in processes that `multiprocessing` starts.
    A second call does nothing.

    Warns
    -----
    RuntimeWarning
        Naming what keeps nipype's class: modules that imported it earlier, classes derived from
        it, and nodes already made, which can no longer be sent to workers.

    Notes
    -----
    Jobs of a batch system are Pythons of their own, in which nothing is installed. Sinks arrive
    there as they are; a module that derives a class from nipype's has to call this itself.
    """
    if upstream.DataSink is DataSink:
        return
    (theirs,) = DataSink.__bases__
    kept = [*_modules(theirs), *_derived(theirs), *_nodes(theirs)]
    for ours in (DataSink, DataSinkInputSpec):
        _replace(ours.__bases__[0], ours)
    _reach_spawned_processes()
    if kept:
        warnings.warn(
            "nipype's DataSink was in use before install() and stays so in "
            f"{', '.join(kept)}; call install() before anything imports it",
            RuntimeWarning,
            stacklevel=2,
        )


def _replace(theirs: type, ours: type) -> None:
    name, kept_name = theirs.__name__, f"_Nipypes{theirs.__name__}"
    setattr(upstream, kept_name, theirs)
    for method in vars(theirs).values():
        # nipype 1.8 calls super(DataSink, self): it has to mean nipype's own class still.
        if isinstance(method, FunctionType) and name in method.__code__.co_names:
            names = tuple(kept_name if each == name else each for each in method.__code__.co_names)
            method.__code__ = method.__code__.replace(co_names=names)
    for module in _MODULES:
        if getattr(module, name, None) is theirs:
            setattr(module, name, ours)


# What keeps nipype's class.


def _modules(theirs: type) -> Iterator[str]:
    loaded: dict[str, object] = dict(sys.modules)  # not all are modules
    for name, module in sorted(loaded.items()):
        if isinstance(module, ModuleType) and module not in _MODULES:
            # The attribute __dict__ of a module that is loaded lazily would load it.
            values = ModuleType.__getattribute__(module, "__dict__").values()
            if any(value is theirs for value in list(values)):
                yield f"the module {name}"


def _derived(theirs: type) -> Iterator[str]:
    derived: type
    for derived in theirs.__subclasses__():
        if derived is not DataSink:
            yield f"the class {derived.__module__}.{derived.__qualname__}"
            yield from _derived(derived)


def _nodes(theirs: type) -> Iterator[str]:
    gc.collect()  # what nobody can use any more is no reason to warn
    objects = gc.get_objects()
    sinks = {id(item) for item in objects if type(item) is theirs}
    for item in objects:
        if issubclass(type(item), Node):
            interface = id(vars(item).get("_interface"))
            if interface in sinks:
                sinks.remove(interface)
                yield f"the node {item.fullname}"
    if sinks:
        yield f"{len(sinks)} instance(s)"


# Processes that are spawned, or forked by a server, import everything anew.


class _Installed:
    """Installs where it is unpickled: in a new process, before the main module is imported."""

    def __reduce__(self) -> tuple[Any, ...]:
        code = f"import sys; sys.path = {sys.path!r}; import nipype_datasink as n; n.install()"
        return exec, (code,)


def _reach_spawned_processes() -> None:
    prepare = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {**prepare(name), "nipype_datasink": _Installed()}

    spawn.get_preparation_data = get_preparation_data
