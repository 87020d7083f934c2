"""Inputs that nobody has set, as nipype's configuration sets them.

Pipelines that nobody wants to edit are told what to do in nipype's own files and dictionaries:
section ``[execution]``, option ``datasink_`` and the input's name (without ``sink_``).
"""

from __future__ import annotations

import configparser
import sys
from collections.abc import Mapping
from typing import Any

from nipype import config, logging
from nipype.interfaces.base import isdefined, traits
from nipype.pipeline.engine import Node, nodes
from nipype.utils.misc import str2bool

from nipype_datasink.errors import SettingsError

__all__ = [
    "calling_node",
    "configure",
    "configured",
    "explicit_value",
    "option_of",
    "warn_of_unknown_options",
]

_logger = logging.getLogger("nipype.interface")

# nipype forgets sections that it does not know, so the options stand beside its own of DataSink.
SECTION = "execution"

_INPUTS = (
    "sink_missing",
    "s3_endpoint_url",
    "s3_profile",
    "s3_region",
    "s3_transfer_client",
    "s3_max_concurrency",
    "encrypt_bucket_keys",
)

# A bucket brings its own client, and a file its own identity: what clashes is not looked at.
_CLASHES: Mapping[str, tuple[str, ...]] = {
    "s3_endpoint_url": ("bucket",),
    "s3_profile": ("bucket", "creds_path"),
    "s3_region": ("bucket",),
    "s3_transfer_client": ("bucket",),
}


def option_of(name: str) -> str:
    """Return the option in nipype's configuration that stands for an input.

    Examples
    --------
    >>> option_of("sink_missing"), option_of("s3_region")
    ('datasink_missing', 'datasink_s3_region')
    """
    return f"datasink_{name.removeprefix('sink_')}"


def explicit_value(inputs: Any, name: str) -> Any:
    """Return the value that an input itself has; None where it is not set, or set to empty text."""
    value = getattr(inputs, name)
    if not isdefined(value) or (isinstance(value, str) and not value):
        return None
    return value


def configured(inputs: Any, name: str) -> Any:
    """Return what nipype's configuration says of an input that is not set; None if nothing.

    The configuration of the node that runs the sink (``Workflow.config``) wins over the global one
    (``nipype.cfg``, `nipype.config`). It travels with the node to the workers of every plugin.

    Parameters
    ----------
    inputs
        Of the sink.
    name
        Of the input.

    Raises
    ------
    SettingsError
        If the value makes no sense, naming section and option.
    """
    clashes = [explicit_value(inputs, each) for each in _CLASHES.get(name, ())]
    if name not in _INPUTS or any(value is not None for value in clashes):
        return None
    try:
        text = _text(inputs, option_of(name))
    except configparser.Error:  # it cites the value, which may hold a secret
        raise SettingsError(
            f"nipype's configuration, section [{SECTION}]: {option_of(name)} cannot be read; "
            "write '%%' for each '%'"
        ) from None
    if text in ("", "None"):
        return None
    try:
        return _read(inputs.trait(name).trait_type, text)
    except ValueError as error:
        raise SettingsError(
            f"nipype's configuration, section [{SECTION}]: {option_of(name)} = {text!r} is not "
            f"valid; write {error}"
        ) from None


def _read(kind: object, text: str) -> Any:
    """Return the value that a text means for an input of a kind.

    Raises
    ------
    ValueError
        Saying what it may be.
    """
    if isinstance(kind, traits.Enum) and text not in kind.values:
        raise ValueError(" or ".join(map(repr, kind.values)))
    if isinstance(kind, traits.Range):
        if not text.isdecimal() or int(text) < 1:
            raise ValueError("a whole number of at least 1")
        return int(text)
    if isinstance(kind, traits.Bool):
        try:
            return str2bool(text)
        except ValueError:
            raise ValueError("'true' or 'false'") from None
    return text


def configure(name: str, value: str) -> None:
    """Set an input for all sinks that have no value of their own or of their workflow's."""
    config.set(SECTION, option_of(name), value)


def _text(inputs: Any, option: str) -> str:
    return str(_own(inputs).get(option, config.get(SECTION, option, ""))).strip()


def _own(inputs: Any) -> Mapping[str, Any]:
    """Return what the configuration of the node that runs the sink says."""
    node = calling_node(inputs)
    own: Mapping[str, Any] = (node.config or {}).get(SECTION, {}) if node else {}
    return own


def warn_of_unknown_options(inputs: Any) -> None:
    """Warn of options in nipype's configuration that look like this library's but are not."""
    known = [option_of(name) for name in _INPUTS]
    for option in {**config._sections.get(SECTION, {}), **_own(inputs)}:
        if option.startswith("datasink_") and option not in known:
            _logger.warning(
                "nipype's configuration, section [%s]: there is no option %s; there are %s",
                SECTION,
                option,
                ", ".join(known),
            )


def calling_node(inputs: Any) -> Node | None:
    """Return the node that runs the sink with these inputs; None if none does.

    An interface does not know its node, but while it runs the node is among its callers.
    """
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_globals is vars(nodes):
            node = frame.f_locals.get("self")
            if isinstance(node, Node) and node._interface.inputs is inputs:
                return node
    return None
