"""Make each input also an attribute of the sink, as nipype's manual sets ``sink.local_copy``."""

from __future__ import annotations

from typing import Any

# Attributes that nipype's interfaces set on themselves.
_RESERVED = ("ignore_exception", "inputs", "resource_monitor")


class InputAttribute:
    """An attribute of a sink that reads and sets one of its inputs.

    Parameters
    ----------
    name
        Name of the input.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.__doc__ = f"The input ``{name}``."

    def __get__(self, sink: Any, owner: Any = None) -> Any:
        """Return the value of the input."""
        if sink is None:
            return self
        own = vars(sink)
        if self._name in own:
            return own[self._name]
        if "inputs" not in own:
            raise AttributeError(f"{type(sink).__name__} has no attribute {self._name!r} yet")
        return getattr(sink.inputs, self._name)

    def __set__(self, sink: Any, value: Any) -> None:
        """Set the input."""
        own = vars(sink)
        if "inputs" not in own:
            # A subclass uses this name for a value of its own, and sets it before it calls the
            # constructor of the sink.
            own[self._name] = value
            return
        setattr(sink.inputs, self._name, value)
        own.pop(self._name, None)


def add_input_attributes(sink_class: Any) -> None:
    """Add an attribute to a class for each input of its ``input_spec``.

    Attributes that the class defines or inherits are not changed.
    """
    for name in sink_class.input_spec.class_trait_names():
        if name.startswith(("_", "trait_")) or name in _RESERVED or hasattr(sink_class, name):
            continue
        setattr(sink_class, name, InputAttribute(name))
