"""Define the functions that the nodes of the demo run.

Each function has its imports inside and uses only builtins in its annotations, because nipype runs
its source text in an empty namespace (nipype/utils/functions.py).
"""

# mypy: untyped-calls-exclude="nibabel"

from __future__ import annotations

from typing import Any


def convert(subject_id: str, series: dict[str, str]) -> str:
    """Convert the image series of a subject from NIfTI or PAR/REC to NIfTI with float32 values."""
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    source: Any = nb.load(series[subject_id])
    image = nb.Nifti1Image.from_image(source)
    image.set_data_dtype(np.float32)
    out_file = Path(f"{subject_id}_bold.nii.gz").resolve()
    image.to_filename(out_file)
    if series[subject_id].endswith(".PAR"):
        source.dataobj.file_like.close()  # nibabel does not close the .REC file
    return str(out_file)


def estimate_motion(in_file: str) -> str:
    """Estimate rigid motion relative to the mean volume, and save it as a text file.

    The columns are those of SPM: x, y, z in mm, and three angles in rad. The method is one
    Gauss-Newton step of a least-squares registration with a free intensity scale. This is enough
    for motion that is much smaller than a voxel.
    """
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    image = nb.Nifti1Image.from_filename(in_file)
    volumes = image.get_fdata()
    mean = volumes.mean(axis=3)
    voxels = np.indices(mean.shape).reshape(3, -1).T
    positions = nb.affines.apply_affine(image.affine, voxels)
    slopes = np.stack(np.gradient(mean), axis=-1).reshape(-1, 3)
    slopes = slopes @ np.linalg.inv(image.affine[:3, :3])
    turns = np.cross(positions - positions.mean(axis=0), slopes)
    design = np.column_stack([-slopes, -turns, mean.ravel()])
    changes = (volumes - mean[..., None]).reshape(-1, volumes.shape[3])
    parameters = np.linalg.lstsq(design, changes, rcond=None)[0][:6].T
    out_file = Path(in_file).name.replace("_bold.nii.gz", "_motion.txt")
    np.savetxt(out_file, parameters, fmt="%.8f")
    return str(Path(out_file).resolve())


def brain_mask(mean_file: str) -> str:
    """Save a mask of the voxels that are brighter than a fifth of the 98th percentile."""
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    mean = nb.Nifti1Image.from_filename(mean_file)
    intensity = mean.get_fdata()
    mask = (intensity > np.percentile(intensity, 98) / 5).astype(np.uint8)
    out_file = Path("mask.nii.gz").resolve()
    nb.Nifti1Image(mask, mean.affine).to_filename(out_file)
    return str(out_file)


def enlarge(mean_file: str) -> tuple[str, str]:
    """Resample the mean to about 2.5 million voxels (10 MB); also save it as a pair for SPM.

    Files of more than 8 MiB are sent to S3 in several parts. Of the pair, only the ``.img`` file is
    connected to the sink; the ``.hdr`` file is its companion.
    """
    from pathlib import Path

    import nibabel as nb
    import numpy as np
    from nibabel.processing import resample_to_output

    mean = nb.Nifti1Image.from_filename(mean_file)
    extent = (np.array(mean.shape) - 1) * mean.header.get_zooms()
    voxel_size = float((extent.prod() / 2.5e6) ** (1 / 3))
    fine, pair = Path("mean_fine.nii").resolve(), Path("mean.img").resolve()
    resample_to_output(mean, voxel_size, order=1).to_filename(fine)
    nb.Nifti1Pair.from_image(mean).to_filename(pair)
    return str(fine), str(pair)


def assess(bold: str, mask: str, displacement: str, dvars: str) -> str:
    """Write a folder for quality control: a table of confounds, a summary and a figure."""
    import json
    from pathlib import Path

    import nibabel as nb
    import numpy as np

    folder = Path("qa").resolve()
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    inside = np.asarray(nb.Nifti1Image.from_filename(mask).dataobj) > 0
    signal = nb.Nifti1Image.from_filename(bold).get_fdata()[inside].mean(axis=0)
    # The first volume has no displacement, as there is no volume before it.
    displacements = np.insert(np.loadtxt(displacement, skiprows=1), 0, np.nan)
    table = np.column_stack([signal, displacements, np.insert(np.loadtxt(dvars), 0, np.nan)])
    names = ["global_signal", "framewise_displacement", "std_dvars"]
    header = "\t".join(names)
    np.savetxt(folder / "confounds.tsv", table, "%.6f", "\t", header=header, comments="")
    summary = dict(zip(names, np.nanmean(table, axis=0).round(6).tolist(), strict=True))
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    heights = 90 - 80 * (signal - signal.min()) / np.ptp(signal)
    points = " ".join(f"{10 * volume},{height:.1f}" for volume, height in enumerate(heights))
    (folder / "figures" / "global_signal.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {10 * len(signal)} 100">'
        f'<polyline fill="none" stroke="teal" points="{points}"/></svg>\n'
    )
    return str(folder)
