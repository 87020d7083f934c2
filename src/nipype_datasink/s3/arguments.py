"""Check boto3's upload arguments (`s3_upload_args`)."""

from __future__ import annotations

from collections.abc import Iterable

from nipype_datasink.errors import SettingsError

# Prefixes of arguments. Those of the first kind hold a value of one object, such as its digest, but
# a sink sends many.
_FOR_ONE_OBJECT = ("Checksum", "MpuObjectSize")
_SECRET = ("SSECustomer", "CopySourceSSECustomer")
_FOR_ALL_OBJECTS = ("ChecksumAlgorithm",)  # an exception of the first kind


def check_no_secrets(names: Iterable[str]) -> None:
    """Check that no argument is a secret key: nipype would write it into reports and pickles.

    Raises
    ------
    SettingsError
        If an argument is a customer-provided key. The message names it without its value.
    """
    for name in names:
        if name.startswith(_SECRET):
            raise SettingsError(
                f"s3_upload_args: {name!r} is not allowed, because nipype would write the secret "
                "into reports and pickles; use ServerSideEncryption 'aws:kms' with SSEKMSKeyId"
            )


def check_upload_args(names: Iterable[str]) -> None:
    """Check that boto3 has these upload arguments, and that they can apply to every object.

    Raises
    ------
    SettingsError
        If it does not, or they cannot. The message names the argument.
    """
    from boto3.s3.transfer import S3Transfer

    known = S3Transfer.ALLOWED_UPLOAD_ARGS
    check_no_secrets(names)
    for name in names:
        if name not in known:
            allowed = ", ".join(each for each in known if _is_allowed(each))
            raise SettingsError(
                f"s3_upload_args: unknown upload argument {name!r}; allowed: {allowed}"
            )
        if not _is_allowed(name):
            raise SettingsError(
                f"s3_upload_args: {name!r} is not allowed, because it applies to one object only"
            )


def _is_allowed(name: str) -> bool:
    return name in _FOR_ALL_OBJECTS or not name.startswith((*_FOR_ONE_OBJECT, *_SECRET))
