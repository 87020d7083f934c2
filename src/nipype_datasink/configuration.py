"""Read the options of sinks in nipype's configuration.

They configure pipelines without editing them. They are in the section ``[execution]``, and are
named ``datasink_`` and the name of the input, without ``sink_``.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nipype import config, logging
from nipype.interfaces.base import isdefined, traits
from nipype.pipeline.engine import MapNode, Node, nodes
from nipype.utils.misc import str2bool

from nipype_datasink.errors import SettingsError
from nipype_datasink.planning.s3_copy import CopiedDirectory, parse_copied_directories

_logger = logging.getLogger("nipype.interface")

# nipype removes sections that it does not know, so the options are in one of its own sections,
# beside the options of its DataSink.
SECTION = "execution"

S3_INPUTS = (
    "s3_endpoint_url",
    "s3_profile",
    "s3_region",
    "s3_transfer_client",
    "s3_max_concurrency",
    "encrypt_bucket_keys",
)
SINK_INPUTS = ("sink_missing", "sink_manifest_dir")
S3_COPY = "s3_copy"
_INPUTS = (*SINK_INPUTS, S3_COPY, *S3_INPUTS)

_NODE = "_calling_node"  # in the `__dict__` of the inputs, only while a workflow is planned
_BASE_OF_ITEM = "_base_of_item"  # in the `__dict__` of the sink

# An injected bucket has its own client, and a credentials file has its own identity. Where one of
# these inputs is set, the option is ignored.
_CONFLICTING_INPUTS: Mapping[str, tuple[str, ...]] = {
    "s3_endpoint_url": ("bucket",),
    "s3_profile": ("bucket", "creds_path"),
    "s3_region": ("bucket",),
    "s3_transfer_client": ("bucket",),
}


def option_name(name: str) -> str:
    """Return the name of the option that sets an input.

    Examples
    --------
    >>> option_name("sink_missing"), option_name("s3_region")
    ('datasink_missing', 'datasink_s3_region')
    """
    return f"datasink_{name.removeprefix('sink_')}"


def explicit_value(inputs: Any, name: str) -> Any:
    """Return the value of an input; None if it is Undefined or empty text."""
    value = getattr(inputs, name)
    if not isdefined(value) or (isinstance(value, str) and not value):
        return None
    return value


def read_options(inputs: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the values that nipype's configuration sets for inputs that are not set themselves.

    The configuration of the node that runs the sink (``Workflow.config``) takes precedence over the
    global one (``nipype.cfg``, `nipype.config`). It is sent with the node to the workers of every
    plugin.

    Parameters
    ----------
    inputs
        Inputs of the sink.
    names
        Names of the inputs to look up.

    Raises
    ------
    SettingsError
        If a value is not valid, naming section and option.
    """
    node_options = _node_options(inputs)
    values: dict[str, Any] = {}
    for name in names:
        setting = (name, *_CONFLICTING_INPUTS.get(name, ()))
        if all(explicit_value(inputs, each) is None for each in setting):
            text = _option_text(option_name(name), node_options)
            if text:
                values[name] = _parse_option(inputs, name, text)
    return values


def copied_directories(inputs: Any = None) -> tuple[CopiedDirectory, ...]:
    """Return the directories whose contents nipype's configuration copies to S3.

    Parameters
    ----------
    inputs
        Inputs of a sink. Without them, only the global configuration is read.

    Raises
    ------
    SettingsError
        If the option is not valid.
    """
    node_options = {} if inputs is None else _node_options(inputs)
    return _parse_copied_directories(_option_text(option_name(S3_COPY), node_options))


def _parse_copied_directories(text: str) -> tuple[CopiedDirectory, ...]:
    where = f"nipype's configuration, section [{SECTION}]: {option_name(S3_COPY)}"
    return parse_copied_directories(text, where)


def _option_text(option: str, node_options: Mapping[str, Any]) -> str:
    try:
        text = config.get(SECTION, option, "")
    except configparser.Error:  # its message contains the value, which may be a secret
        raise SettingsError(
            f"nipype's configuration, section [{SECTION}]: {option} cannot be read; "
            "write '%%' for each '%'"
        ) from None
    # nipype copies the global options into those of the node as they are written, with '%%'.
    if option in node_options:
        text = str(node_options[option]).replace("%%", "%")
    text = str(text).strip()
    return "" if text == "None" else text


def _parse_option(inputs: Any, name: str, text: str) -> Any:
    if name == S3_COPY:
        return _parse_copied_directories(text)
    try:
        return _convert(inputs.trait(name).trait_type, text)
    except ValueError as error:
        raise SettingsError(
            f"nipype's configuration, section [{SECTION}]: {option_name(name)} = {text!r} is not "
            f"valid; write {error}"
        ) from None


def _convert(trait_type: object, text: str) -> Any:
    """Return the value of an input of this type that `text` stands for.

    Raises
    ------
    ValueError
        Listing the allowed values.
    """
    if isinstance(trait_type, traits.Enum) and text not in trait_type.values:
        raise ValueError(" or ".join(map(repr, trait_type.values)))
    if isinstance(trait_type, traits.Range):
        if not text.isdecimal() or int(text) < 1:
            raise ValueError("a whole number of at least 1")
        return int(text)
    if isinstance(trait_type, traits.Bool):
        try:
            return str2bool(text)
        except ValueError:
            raise ValueError("'true' or 'false'") from None
    return text


def hard_links_enabled() -> bool:
    """Return nipype's own option for hard links, ``try_hard_link_datasink``."""
    return bool(str2bool(config.get(SECTION, "try_hard_link_datasink")))


def configure(name: str, value: str) -> None:
    """Set an input of all sinks, except where the sink or its workflow has set it."""
    config.set(SECTION, option_name(name), value.replace("%", "%%"))


def check_options(inputs: Any) -> None:
    """Log a warning for each option that starts with ``datasink_`` but does not exist."""
    known = [option_name(name) for name in _INPUTS]
    for option in {**config._sections.get(SECTION, {}), **_node_options(inputs)}:
        if option.startswith("datasink_") and option not in known:
            _logger.warning(
                "nipype's configuration, section [%s]: unknown option %s; allowed: %s",
                SECTION,
                option,
                ", ".join(known),
            )


def _node_options(inputs: Any) -> Mapping[str, Any]:
    """Return the options of the node that runs the sink."""
    node = calling_node(inputs)
    options: Mapping[str, Any] = (node.config or {}).get(SECTION, {}) if node else {}
    return options


def calling_node(inputs: Any) -> Node | None:
    """Return the node that runs the sink with these inputs; None if there is no node.

    nipype gives an interface no reference to its node. But while the interface runs, a method of
    the node is on the call stack.
    """
    if node := vars(inputs).get(_NODE):
        return node
    return next((node for node in _active_nodes() if node._interface.inputs is inputs), None)


def _active_nodes() -> Iterator[Node]:
    """Yield each node with a method on the call stack, the innermost first."""
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_globals is vars(nodes) and isinstance(node := frame.f_locals.get("self"), Node):
            yield node


def attributes_of_item() -> dict[str, str]:
    """Return the attribute that the sink of a MapNode's item needs besides those of the MapNode's.

    nipype copies the sink for each item, and runs the items as nodes below the directory of the
    MapNode, perhaps in another process. It does not pass on where the base of the workflow is.
    While it copies the sink, a method of the MapNode is on the call stack.
    """
    node = next(_active_nodes(), None)
    if not isinstance(node, MapNode):
        return {}
    node.output_dir()  # sets `base_dir` if the node has none
    return {_BASE_OF_ITEM: os.path.abspath(node.base_dir)}


def node_directory(node: Node) -> str:
    """Return the directory of a node relative to the base directory of its workflow."""
    directory: str = node.output_dir()
    base: str = vars(node.interface).get(_BASE_OF_ITEM, node.base_dir)
    return os.path.relpath(directory, os.path.realpath(base))  # nipype also resolves links


def set_calling_node(inputs: Any, node: Node) -> None:
    """Set the node whose configuration a sink has, while no node runs it."""
    vars(inputs)[_NODE] = node  # plain assignment would make it a field
