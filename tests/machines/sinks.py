"""Sinks of both classes with the inputs that the model knows."""

from __future__ import annotations

from typing import Any

from nipype import config

from tests.model import Sink


def make_sink(kind: Any, sink: Sink, base: str) -> Any:
    """Return a sink of a class; set nipype's option for hard links, which both classes read."""
    config.set("execution", "try_hard_link_datasink", str(sink.hard_links).lower())
    made = kind(base_directory=base, container=sink.container)
    made.inputs.parameterization = sink.parameterization
    made.inputs.remove_dest_dir = sink.remove_dest_dir
    made.inputs.substitutions = list(sink.substitutions)
    made.inputs.regexp_substitutions = list(sink.regexp_substitutions)
    if sink.strip_dir:
        made.inputs.strip_dir = sink.strip_dir
    for name, value in sink.fields.items():
        setattr(made.inputs, name, value)
    return made
