"""Replace nipype's `DataSink` by this one, for pipelines that are not to be edited."""

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

_MODULES = (upstream, nipype.interfaces, nipype)


def install() -> None:
    """Replace nipype's `DataSink` by this one in all modules of nipype that export it.

    Call this function before anything imports nipype's class. Afterwards ``from
    nipype.interfaces.io import DataSink`` and ``nio.DataSink`` return this class, also in processes
    that `multiprocessing` starts. A second call does nothing.

    Warns
    -----
    RuntimeWarning
        Naming everything that still uses nipype's class: modules that imported it earlier, classes
        derived from it, and existing nodes. Such nodes can no longer be sent to workers.

    Notes
    -----
    A job of a batch system is a new Python process in which nothing is installed. Its sinks are
    unpickled as this class. But a module that derives a class from nipype's `DataSink` must call
    this function itself.
    """
    if upstream.DataSink is DataSink:
        return
    (original,) = DataSink.__bases__
    users = [*_modules_with(original), *_subclasses_of(original), *_nodes_with(original)]
    for replacement in (DataSink, DataSinkInputSpec):
        _replace(replacement.__bases__[0], replacement)
    _install_in_spawned_processes()
    if users:
        warnings.warn(
            "nipype's DataSink was imported before install() and is still used by "
            f"{', '.join(users)}; call install() before anything imports it",
            RuntimeWarning,
            stacklevel=2,
        )


def _replace(original: type, replacement: type) -> None:
    name, new_name = original.__name__, f"_Nipypes{original.__name__}"
    setattr(upstream, new_name, original)
    for method in vars(original).values():
        # In nipype 1.8, methods call super(DataSink, self). There the name must still refer to
        # nipype's own class, so it is changed in their code.
        if isinstance(method, FunctionType) and name in method.__code__.co_names:
            names = tuple(new_name if each == name else each for each in method.__code__.co_names)
            method.__code__ = method.__code__.replace(co_names=names)
    for module in _MODULES:
        if getattr(module, name, None) is original:
            setattr(module, name, replacement)


def _modules_with(original: type) -> Iterator[str]:
    """Describe the modules that have imported the class."""
    loaded: dict[str, object] = dict(sys.modules)  # some values are not modules
    for name, module in sorted(loaded.items()):
        if isinstance(module, ModuleType) and module not in _MODULES:
            # `module.__dict__` would import a module that is loaded lazily.
            values = ModuleType.__getattribute__(module, "__dict__").values()
            if any(value is original for value in list(values)):
                yield f"the module {name}"


def _subclasses_of(original: type) -> Iterator[str]:
    """Describe the subclasses of the class, except this library's."""
    subclass: type
    for subclass in original.__subclasses__():
        if subclass is not DataSink:
            yield f"the class {subclass.__module__}.{subclass.__qualname__}"
            yield from _subclasses_of(subclass)


def _nodes_with(original: type) -> Iterator[str]:
    """Describe the nodes that run an instance of the class, and count its other instances."""
    gc.collect()  # objects that are no longer used are no reason to warn
    objects = gc.get_objects()
    sinks = {id(item) for item in objects if type(item) is original}
    for item in objects:
        if issubclass(type(item), Node):
            interface = id(vars(item).get("_interface"))
            if interface in sinks:
                sinks.remove(interface)
                yield f"the node {item.fullname}"
    if sinks:
        yield f"{len(sinks)} instance(s)"


class _InstallOnUnpickle:
    """Calls `install` where it is unpickled: in a new process, before the main module is run."""

    def __reduce__(self) -> tuple[Any, ...]:
        code = f"import sys; sys.path = {sys.path!r}; import nipype_datasink as n; n.install()"
        return exec, (code,)


def _install_in_spawned_processes() -> None:
    """Make `multiprocessing` send `_InstallOnUnpickle` to new processes.

    Processes that are spawned, or forked by a server, import all modules again.
    """
    prepare = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {**prepare(name), "nipype_datasink": _InstallOnUnpickle()}

    spawn.get_preparation_data = get_preparation_data
