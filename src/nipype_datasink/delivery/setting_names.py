"""Name settings in the report of a check as the user has set them: by an option, a variable ..."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from nipype_datasink.delivery.check_report import CheckStep, PlaceReport


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
    if not names:
        return report
    return replace(report, steps=tuple(_rename_in_step(step, names) for step in report.steps))


def _rename_in_step(step: CheckStep, names: Mapping[str, str]) -> CheckStep:
    alternatives = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    # Not in quotes and not as a part of a path: there, it is a value.
    pattern = re.compile(rf"(?<![\w/'\"-])({alternatives})(?![\w/'\"-])")
    text, advice = (
        pattern.sub(lambda match: names[match[0]], each) for each in (step.text, step.advice)
    )
    return replace(step, text=text, advice=advice)
