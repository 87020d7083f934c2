"""The inputs of the sink, as traits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nipype.interfaces import io as upstream
from nipype.interfaces.base import Str, Undefined, isdefined, traits

from nipype_datasink.planning.addresses import check_no_password
from nipype_datasink.s3.arguments import refuse_secrets
from nipype_datasink.s3.pickling import describe_bucket, enable_pickling

__all__ = ["DataSinkInputSpec", "DataSinkOutputSpec"]

DataSinkOutputSpec = upstream.DataSinkOutputSpec

EVENTS = ("trait_added", "trait_modified")  # of traits; nipype takes them for fields
_FIELDS = "__infields__"  # no input can have that name


class DataSinkInputSpec(upstream.DataSinkInputSpec):  # type: ignore[misc]
    """Inputs of nipype's `DataSink`, and ours.

    Ours start with ``s3_``, ``local_`` or ``sink_``, have no default and do not count in node
    hashes: every other name is a folder of somebody's outputs, and old working directories stay
    valid.
    """

    s3_endpoint_url = Str(
        nohash=True,
        desc="Address of an S3-compatible store, such as https://minio.example.org",
    )
    s3_region = Str(nohash=True, desc="AWS region of the bucket; a wrong one is followed")
    s3_profile = Str(nohash=True, desc="Profile in AWS's configuration and credentials files")
    s3_upload_args = traits.Dict(
        Str,
        traits.Any,
        nohash=True,
        desc="boto3's ExtraArgs for each upload: ServerSideEncryption, SSEKMSKeyId, "
        "StorageClass, Metadata, Tagging, ContentType, RequestPayer ...",
    )
    s3_max_concurrency = traits.Range(
        low=1, nohash=True, desc="Requests to S3 at a time; unless set, as many as help"
    )
    s3_transfer_client = traits.Enum(
        "auto",
        "classic",
        "crt",
        nohash=True,
        desc="What sends files to S3: 'classic' is boto3, 'crt' the AWS Common Runtime; 'auto' "
        "takes the faster one that can be used",
    )
    local_hardlink = traits.Bool(
        nohash=True,
        desc="Make hard links of single files where possible; unless set, nipype's configuration "
        "(execution/try_hard_link_datasink) decides",
    )
    sink_missing = traits.Enum(
        "error",
        "skip",
        nohash=True,
        desc="What to do where sources do not exist, after everything else has been delivered: "
        "'error' raises MissingSourceError, as if unset; 'skip' warns, for pipelines with optional "
        "outputs",
    )

    def __init__(self, **inputs: Any) -> None:
        # The constructor of traits is no Python code and does not call `__setattr__`.
        super().__init__(**{name: self._checked(name, value) for name, value in inputs.items()})

    def __setattr__(self, key: str, value: Any) -> None:
        if key in EVENTS:
            traits.HasTraits.__setattr__(self, key, value)
            return
        value = self._checked(key, value)
        if key == "bucket":
            enable_pickling(value)
        elif isinstance(value, Iterator) and not hasattr(value, "read"):
            value = list(value)  # it can be read only once, but a plan and a run both read it
        super().__setattr__(key, value)

    @classmethod
    def _checked(cls, name: str, value: Any) -> Any:
        """Return what an input is set to: a path becomes text where text is wanted.

        Raises
        ------
        SettingsError
            If it holds a secret, which nipype would write into reports and pickles.
        """
        if name == "s3_upload_args" and isinstance(value, Mapping):
            refuse_secrets(value)
        if not isinstance(value, (str, os.PathLike)) or not cls._wants_text(name):
            return value
        text = _text(value)
        if name == "s3_endpoint_url" or "://" in text:
            check_no_password(text, name)
        return text

    @classmethod
    def _wants_text(cls, name: str) -> bool:
        trait = cls.__class_traits__.get(name)
        return trait is not None and isinstance(trait.trait_type, traits.BaseStr)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy everything but the bucket, which all copies share."""
        memo[id(self.bucket)] = self.bucket
        copy = super().__deepcopy__(memo)
        copy._add_fields(self._own_fields())
        for field in self._own_fields():
            setattr(copy, field, copy._outputs.get(field, Undefined))
        return copy

    def __getstate__(self) -> dict[str, Any]:
        """Keep the names of the fields that only this object has (`infields`)."""
        return {**super().__getstate__(), _FIELDS: self._own_fields()}

    def __setstate__(self, state: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Take back those fields, which a class does not know."""
        self._add_fields(state.get(_FIELDS, ()))
        state = {name: value for name, value in state.items() if name != _FIELDS}
        super().__setstate__(state, *args, **kwargs)

    @contextmanager
    def bucket_as_text(self) -> Iterator[None]:
        """Let `get_traitsfree` tell what a bucket is: it fills results and provenance."""
        self.__dict__["_telling"] = True  # plain assignment would make it a field
        try:
            yield
        finally:
            self.__dict__.pop("_telling", None)

    def get_traitsfree(self, **kwargs: Any) -> dict[str, Any]:
        """Return the inputs that are set; while the sink runs, a text in place of a bucket."""
        inputs: dict[str, Any] = super().get_traitsfree(**kwargs)
        if "_telling" in self.__dict__ and "bucket" in inputs:
            inputs["bucket"] = describe_bucket(inputs["bucket"])
        return inputs

    def _own_fields(self) -> list[str]:
        return sorted(set(self.copyable_trait_names()).difference(self.class_trait_names()))

    def _add_fields(self, fields: Iterable[str]) -> None:
        for field in fields:
            self.add_trait(field, traits.Any)

    def _get_sorteddict(self, objekt: Any, *args: Any, **kwargs: Any) -> Any:
        """Hash a bucket by what it is; the representation of a mock changes with every run."""
        if objekt is self.bucket and isdefined(objekt):
            objekt = describe_bucket(objekt)
        return super()._get_sorteddict(objekt, *args, **kwargs)


def _text(value: str | os.PathLike[Any]) -> str:
    text = str(value)
    # Paths of other libraries, which may stand for an address, show it.
    return text if isinstance(value, str) or "://" in text else os.fsdecode(value)
