"""Start sessions of boto3 that need no configuration files where the access key is given."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import boto3.session
from botocore.exceptions import BotoCoreError
from botocore.session import Session, get_session
from botocore.utils import parse_timestamp

from nipype_datasink.s3.available_services import list_services_lazily

_logger = logging.getLogger("nipype.interface")

_PROFILE_VARIABLES = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")  # botocore looks in this order
_CONFIGURATION_FILES = ("config_file", "credentials_file")  # botocore's names of both settings


def start_session(**settings: Any) -> boto3.session.Session:
    """Return a session for arguments of `boto3.session.Session`.

    With an access key among them, AWS's configuration files are not needed. If they cannot be read,
    or lack the profile that the environment names, the session ignores them.
    """
    session = _botocore_session(keys_given=settings.get("aws_access_key_id") is not None)
    # botocore parses the time of each listed object with dateutil, which tries many formats. With
    # this parser a listing takes 0.28 times the CPU (measured with 1,000 objects); that is most of
    # what a run costs in which all files are unchanged.
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=read_timestamp)
    list_services_lazily(session.get_component("data_loader"))
    return boto3.session.Session(botocore_session=session, **settings)


def _botocore_session(*, keys_given: bool) -> Session:
    # In containers the variables of the profile are often set to an empty text. botocore would
    # look for a profile of that name, so empty ones are left out.
    named = [name for name in _PROFILE_VARIABLES if os.environ.get(name)]
    # Each setting of botocore is found by (name in the file, variables, default, conversion).
    variables: dict[str, Any] = {"profile": (None, named or None, None, None)}
    session = get_session(variables)
    if not keys_given:
        return session
    try:
        session.get_scoped_config()
    except BotoCoreError as error:
        _logger.info("AWS's configuration is ignored, as the access key is given: %s", error)
        no_files = dict.fromkeys(_CONFIGURATION_FILES, (None, None, os.devnull, None))
        session = get_session({"profile": (None, None, None, None), **no_files})
    return session


def read_timestamp(value: Any) -> datetime:
    """Return the same time as botocore's parser, but quickly for the format that S3 uses."""
    if isinstance(value, str) and value.endswith("Z"):
        with suppress(ValueError):
            return datetime.fromisoformat(value[:-1]).replace(tzinfo=timezone.utc)
    return parse_timestamp(value)
