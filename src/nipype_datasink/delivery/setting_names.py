"""Name settings in errors and reports as the user has set them: by an option, a variable ..."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from nipype_datasink.delivery.check_report import PlaceReport


def rename(text: str, names: Mapping[str, str]) -> str:
    """Return a text that has other names of settings.

    Examples
    --------
    >>> rename("check s3_endpoint_url", {"s3_endpoint_url": "AWS_ENDPOINT_URL"})
    'check AWS_ENDPOINT_URL'
    """
    if not names:
        return text
    alternatives = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    # Not in quotes and not as a part of a path: there, it is a value.
    pattern = rf"(?<![\w/'\"-])({alternatives})(?![\w/'\"-])"
    return re.sub(pattern, lambda match: names[match[0]], text)


def rename_settings(report: PlaceReport, names: Mapping[str, str]) -> PlaceReport:
    """Return a report whose texts have other names of settings.

    Errors name the inputs of a sink. A check of an address has no sink, but options of its own.

    Parameters
    ----------
    report
        Report of a place.
    names
        New names by the names of the inputs. Other words of the report can be replaced, too.
    """
    steps = [
        replace(step, text=rename(step.text, names), advice=rename(step.advice, names))
        for step in report.steps
    ]
    return replace(report, steps=tuple(steps))
