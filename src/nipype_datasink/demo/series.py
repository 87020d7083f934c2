"""Find real image series in the test data of installed packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_SERIES = (
    ("nibabel", "tests/data/functional.nii"),
    ("nibabel", "tests/data/phantom_EPI_asc_CLEAR_2_1.PAR"),
    ("nipype", "testing/data/ds003_sub-01_mc.nii.gz"),
    ("nitime", "data/fmri1.nii.gz"),
    ("nitime", "data/fmri2.nii.gz"),
)


def real_series() -> dict[str, Path]:
    """Return the image series that are installed with nibabel, nipype and nitime.

    Returns
    -------
    dict[str, Path]
        Path of an image for each subject, starting with ``sub001``. Images that are not installed
        are left out.
    """
    images = [path for package, name in _SERIES if (path := _find_in_package(package, name))]
    return {f"sub{number:03}": path for number, path in enumerate(images, start=1)}


def _find_in_package(package: str, name: str) -> Path | None:
    # importlib.resources would import the package; for nitime this takes a second.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / name
    return path if path.is_file() else None
