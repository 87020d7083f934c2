"""Warn about directories that are probably not those that the user meant."""

from __future__ import annotations

import os

from nipype import logging

from nipype_datasink.planning.addresses import parse_location
from nipype_datasink.planning.location import LocalDirectory, S3Prefix
from nipype_datasink.settings import Settings
from nipype_datasink.worker import batch_job, why_node_local

_logger = logging.getLogger("nipype.interface")


def warn_about_directories(settings: Settings, *, in_node: bool) -> None:
    """Log a warning for each directory that is probably not the one that the user meant.

    Parameters
    ----------
    settings
        Settings of the sink.
    in_node
        Whether a node runs the sink. Its working directory is its own, and nipype may remove it.
    """
    for name in ("base_directory", "local_copy", "sink_manifest_dir"):
        path = getattr(settings, name)
        if path and isinstance(location := parse_location(path, name), LocalDirectory):
            if in_node and not os.path.isabs(os.path.expanduser(path)):
                _logger.warning(
                    "%s %r is relative, and a node runs in its own directory: it means %r. "
                    "Write an absolute path",
                    name,
                    path,
                    location.path,
                )
            if (job := batch_job()) and (why := why_node_local(path)):
                _logger.warning("%s: %s %r %s", job, name, path, why)
    base, container = settings.base_directory or "", settings.container
    if os.path.isabs(container) and isinstance(parse_location(base), S3Prefix):
        # On disk, as with nipype, an absolute container replaces the base directory.
        _logger.warning(
            "container %r is an absolute path, and becomes part of every key below %s; "
            "set it to a relative path",
            container,
            base,
        )
