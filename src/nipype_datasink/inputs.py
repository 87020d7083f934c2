"""Define the inputs of the sink as traits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from nipype import logging
from nipype.interfaces import io as upstream
from nipype.interfaces.base import Str, Undefined, isdefined, traits

from nipype_datasink.errors import SettingsError
from nipype_datasink.planning.addresses import check_no_password
from nipype_datasink.planning.hints import likely_input
from nipype_datasink.s3.arguments import check_no_secrets
from nipype_datasink.s3.pickling import describe_bucket, enable_pickling

_logger = logging.getLogger("nipype.interface")

DataSinkOutputSpec = upstream.DataSinkOutputSpec

_EVENTS = ("trait_added", "trait_modified")  # events of the traits library, not fields of a user
_FIELDS_KEY = "__infields__"  # in the pickled state; no input can have this name
_BUCKET_AS_TEXT = "_bucket_as_text"


class DataSinkInputSpec(upstream.DataSinkInputSpec):  # type: ignore[misc]
    """Inputs of nipype's `DataSink`, and more.

    The names of the new inputs start with ``s3_``, ``local_`` or ``sink_``, because any other name
    may already be a folder in someone's outputs. They have no default, and nipype hashes no input
    that is not set, so existing working directories stay valid. Only `s3_copy` is part of the hash.
    """

    s3_endpoint_url = Str(
        nohash=True,
        desc="Address of an S3-compatible store, such as https://minio.example.org",
    )
    s3_region = Str(nohash=True, desc="AWS region of the bucket; a wrong region is corrected")
    s3_profile = Str(nohash=True, desc="Profile in AWS's configuration and credentials files")
    s3_upload_args = traits.Dict(
        Str,
        traits.Any,
        nohash=True,
        desc="boto3's ExtraArgs for each upload: ServerSideEncryption, SSEKMSKeyId, "
        "StorageClass, Metadata, Tagging, ContentType, RequestPayer ...",
    )
    s3_max_concurrency = traits.Range(
        low=1,
        nohash=True,
        desc="Maximum number of concurrent requests to S3; if it is not set, it adapts to the work",
    )
    s3_transfer_client = traits.Enum(
        "auto",
        "classic",
        "crt",
        nohash=True,
        desc="Library that sends files to S3: 'classic' is boto3, 'crt' is the AWS Common Runtime; "
        "'auto' uses the faster one that is available",
    )
    local_hardlink = traits.Bool(
        nohash=True,
        desc="Make hard links of single files where possible; if it is not set, nipype's option "
        "execution/try_hard_link_datasink decides",
    )
    s3_copy = Str(  # part of the hash, as it changes what is delivered
        desc="s3:// address of a copy of everything that goes to base_directory on disk",
    )
    sink_missing = traits.Enum(
        "error",
        "skip",
        nohash=True,
        desc="What to do if sources do not exist, after everything else has been delivered: "
        "'error' (default) raises MissingSourceError; 'skip' logs a warning, for pipelines with "
        "optional outputs",
    )

    sink_manifest_dir = Str(
        nohash=True,
        desc="Directory or s3:// address of manifests: a table for each sink of what it has "
        "delivered, which nipype-datasink verify compares with what is there",
    )

    def __init__(self, **inputs: Any) -> None:
        # The constructor of the traits library is written in C and does not call `__setattr__`.
        super().__init__(**{name: self._normalized(name, value) for name, value in inputs.items()})

    def __setattr__(self, key: str, value: Any) -> None:
        if key in _EVENTS:
            # nipype's `__setattr__` would make a field of it. A MapNode passes on the event of its
            # own inputs, with the name of a trait that these inputs may not have.
            if key != "trait_added" or self.trait(value):
                traits.HasTraits.__setattr__(self, key, value)
            return
        value = self._normalized(key, value)
        if key == "bucket":
            enable_pickling(value)
        elif isinstance(value, Iterator) and not hasattr(value, "read"):
            value = list(value)  # an iterator can be read once, but a plan and a run both read it
        kind: Any = type(self)
        if key in self._outputs or key not in _class_inputs(kind):
            super().__setattr__(key, value)
            return
        # As nipype's `__setattr__`, which lists all inputs before it sets one. That would take most
        # of the time in which nipype copies the sinks of a large workflow.
        super(upstream.DataSinkInputSpec, self).__setattr__(key, value)

    @classmethod
    def _normalized(cls, name: str, value: Any) -> Any:
        """Return the value to store for an input: text for a path, if the input takes text.

        Raises
        ------
        SettingsError
            If the value holds a secret, which nipype would write into reports and pickles.
        """
        if name == "s3_upload_args" and isinstance(value, Mapping):
            check_no_secrets(value)
        if not isinstance(value, (str, os.PathLike)) or not cls._takes_text(name):
            return value
        text = _path_as_text(value)
        if name == "s3_endpoint_url" or "://" in text:
            check_no_password(text, name)
        return text

    @classmethod
    def _takes_text(cls, name: str) -> bool:
        trait = cls.__class_traits__.get(name)
        return trait is not None and isinstance(trait.trait_type, traits.BaseStr)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return a copy that shares the bucket and keeps the fields of this object."""
        memo[id(self.bucket)] = self.bucket  # the bucket is not copied
        copy = super().__deepcopy__(memo)
        copy._add_fields(self._instance_fields())
        for field in self._instance_fields():
            setattr(copy, field, copy._outputs.get(field, Undefined))
        return copy

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, with the names of fields that the class does not define."""
        return {**super().__getstate__(), _FIELDS_KEY: self._instance_fields()}

    def __setstate__(self, state: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Add those fields again, then restore all values."""
        self._add_fields(state.get(_FIELDS_KEY, ()))
        state = {name: value for name, value in state.items() if name != _FIELDS_KEY}
        super().__setstate__(state, *args, **kwargs)

    @contextmanager
    def bucket_as_text(self) -> Iterator[None]:
        """Let `get_traitsfree` return a text for the bucket, while nipype writes its results."""
        self.__dict__[_BUCKET_AS_TEXT] = True  # plain assignment would make it a field
        try:
            yield
        finally:
            self.__dict__.pop(_BUCKET_AS_TEXT, None)

    def get_traitsfree(self, **kwargs: Any) -> dict[str, Any]:
        """Return the inputs that are set; inside `bucket_as_text`, the bucket is a text."""
        inputs: dict[str, Any] = super().get_traitsfree(**kwargs)
        if _BUCKET_AS_TEXT in self.__dict__ and "bucket" in inputs:
            inputs["bucket"] = describe_bucket(inputs["bucket"])
        return inputs

    def _instance_fields(self) -> list[str]:
        """Return the fields that only this object has, such as those of `infields`."""
        return sorted(set(self.copyable_trait_names()).difference(self.class_trait_names()))

    def _add_fields(self, fields: Iterable[str]) -> None:
        for field in fields:
            self.add_trait(field, traits.Any)

    def _get_sorteddict(self, objekt: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what is hashed; a bucket by its name, as its `repr` may change with every run."""
        if objekt is self.bucket and isdefined(objekt):
            objekt = describe_bucket(objekt)
        return super()._get_sorteddict(objekt, *args, **kwargs)


@cache
def _class_inputs(kind: Any) -> frozenset[str]:
    """Return the inputs that all objects of a class have."""
    return frozenset(kind.class_trait_names(transient=lambda value: value is not True))


def _path_as_text(value: str | os.PathLike[Any]) -> str:
    text = str(value)
    # Path classes of other libraries may stand for an address such as "s3://bucket".
    return text if isinstance(value, str) or "://" in text else os.fsdecode(value)


def list_of_infields(infields: Sequence[str] | None) -> list[str] | None:
    """Return `infields` as a list. Of a text, each letter would become an input."""
    if infields and isinstance(infields, (str, bytes, os.PathLike)):
        raise SettingsError(
            f"the first argument of DataSink is infields, a list of names, and not {infields!r}; "
            f"write DataSink(base_directory={os.fsdecode(infields)!r}) if that is meant, or "
            f"DataSink(infields=[{os.fsdecode(infields)!r}])"
        )
    return None if infields is None else list(infields)


def known_inputs(inputs: DataSinkInputSpec) -> list[str]:
    """Return the names of the inputs that the class defines, those of subclasses included."""
    names: list[str] = inputs.class_trait_names()
    return [name for name in names if not name.startswith(("_", "trait_"))]


def fields_of(inputs: DataSinkInputSpec) -> dict[str, Any]:
    """Return the fields whose values are sunk, by name.

    `infields` may contain the name of a known input. It is not a field, unless its value was set in
    ``_outputs`` only.
    """
    defined = inputs.class_trait_names()
    fields = {
        field: value
        for field, value in inputs._outputs.items()
        if field not in _EVENTS and (field not in defined or value != getattr(inputs, field))
    }
    names = known_inputs(inputs)
    for field in fields:
        if likely := likely_input(field, names):
            _logger.warning("input %r is used as a folder name; did you mean %r?", field, likely)
    return fields
