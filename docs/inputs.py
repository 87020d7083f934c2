"""Write the inputs of the sink as Markdown, for the page on the API."""

from __future__ import annotations

from collections.abc import Iterator

from nipype.interfaces.io import DataSinkInputSpec as NipypeInputSpec

from nipype_datasink import DataSinkInputSpec

_INTERNAL = {"trait_added", "trait_modified", "_outputs"}

# Where the documentation says more than the traits do.
_SECTIONS = {
    "base_directory": "where-files-go.md",
    "bucket": "s3.md#your-own-bucket-object",
    "container": "where-files-go.md",
    "creds_path": "s3.md#credentials",
    "encrypt_bucket_keys": "s3.md#encryption",
    "local_copy": "differences.md",
    "local_hardlink": "where-files-go.md#companions-links-and-copies",
    "parameterization": "where-files-go.md#parameterization",
    "regexp_substitutions": "where-files-go.md#substitutions",
    "remove_dest_dir": "differences.md",
    "s3_copy": "s3-copy.md",
    "s3_endpoint_url": "other-stores.md",
    "s3_max_concurrency": "s3.md#what-sends-the-files",
    "s3_profile": "s3.md#credentials",
    "s3_transfer_client": "s3.md#what-sends-the-files",
    "s3_upload_args": "s3.md#other-settings-of-an-upload",
    "sink_manifest_dir": "after-the-run.md#prove-that-nothing-is-lost",
    "sink_missing": "workflows.md#missing-sources",
    "strip_dir": "where-files-go.md#parameterization",
    "substitutions": "where-files-go.md#substitutions",
}


def input_names() -> tuple[list[str], list[str]]:
    """Return the inputs that this library adds, and those that nipype has."""
    nipype = set(NipypeInputSpec().copyable_trait_names()) - _INTERNAL
    all_names = set(DataSinkInputSpec().copyable_trait_names()) - _INTERNAL
    return sorted(all_names - nipype), sorted(nipype)


def inputs_as_markdown() -> str:
    """Return one definition for each input: its type, default and description."""
    added, nipype = input_names()
    return "\n".join(
        [
            *("### Inputs that this library adds", "", *_definitions(added)),
            *("### Inputs of nipype", "", *_definitions(nipype)),
        ]
    )


def _definitions(names: list[str]) -> Iterator[str]:
    spec = DataSinkInputSpec()
    for name in names:
        trait = spec.trait(name)
        default = f"; default: `{trait.default}`" if trait.usedefault else ""
        more = f" [More]({_SECTIONS[name]})." if name in _SECTIONS else ""
        yield f"`{name}`\n: *{trait.full_info(spec, name, None)}{default}*\n"
        yield f"  {_sentence(trait.desc)}{more}\n"


def _sentence(description: str) -> str:
    """Return a description with a capital letter and a full stop; not all traits have them."""
    end = "" if description.endswith(".") else "."
    return f"{description[0].upper()}{description[1:]}{end}"
