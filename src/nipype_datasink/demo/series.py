"""Real image series, as they come with packages of the field."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["real_series"]

_SERIES = (
    ("nibabel", "tests/data/functional.nii"),
    ("nibabel", "tests/data/phantom_EPI_asc_CLEAR_2_1.PAR"),
    ("nipype", "testing/data/ds003_sub-01_mc.nii.gz"),
    ("nitime", "data/fmri1.nii.gz"),
    ("nitime", "data/fmri2.nii.gz"),
)


def real_series() -> dict[str, Path]:
    """Find the image series that nibabel, nipype and nitime bring along.

    Returns
    -------
    dict[str, Path]
        Subject, ``sub001`` first, to image. What is not installed is left out.
    """
    images = [path for package, name in _SERIES if (path := _packaged(package, name))]
    return {f"sub{number:03}": path for number, path in enumerate(images, start=1)}


def _packaged(package: str, name: str) -> Path | None:
    # Not importlib.resources: that imports the package, and nitime takes a second.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None
