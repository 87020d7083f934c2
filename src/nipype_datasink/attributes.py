"""Define the attributes of sinks.

Each input is also an attribute, as nipype's manual sets ``sink.local_copy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nipype_datasink.delivery.outcomes import Outcomes

# Attributes that nipype's interfaces set on themselves.
_RESERVED = ("ignore_exception", "inputs", "resource_monitor")

_OUTCOMES = "_outcomes_of_last_run"


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


class OutcomesAttribute:
    """Results of the last run of a sink, a file each.

    None before the first run, and if the last run ended before it tried to deliver a file.
    """

    # Without `__set__`, so that a subclass may use the name for a value of its own.
    def __get__(self, sink: Any, owner: Any = None) -> Outcomes | None:
        """Return the results."""
        return self if sink is None else vars(sink).get(_OUTCOMES)  # type: ignore[return-value]


def set_outcomes(sink: Any, outcomes: Outcomes | None) -> None:
    """Set what `OutcomesAttribute` returns."""
    vars(sink)[_OUTCOMES] = outcomes


def add_input_attributes(sink_class: Any) -> None:
    """Add an attribute to a class for each input of its ``input_spec``.

    Attributes that the class defines or inherits are not changed, except for `OutcomesAttribute`.
    """
    for name in sink_class.input_spec.class_trait_names():
        if name.startswith(("_", "trait_")) or name in _RESERVED:
            continue
        if isinstance(getattr(sink_class, name, None), (type(None), OutcomesAttribute)):
            setattr(sink_class, name, InputAttribute(name))
