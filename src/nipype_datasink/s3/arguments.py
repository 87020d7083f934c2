"""Which settings of uploads a sink takes."""

from __future__ import annotations

from collections.abc import Iterable

from nipype_datasink.errors import SettingsError
from nipype_datasink.s3 import has_crt

__all__ = ["check_crt", "check_upload_args", "refuse_secrets"]

# Each says something about one object, and not about all that a sink sends.
_OF_ONE_OBJECT = ("Checksum", "MpuObjectSize")
_SECRET = ("SSECustomer", "CopySourceSSECustomer")
_OF_ALL = ("ChecksumAlgorithm",)


def refuse_secrets(names: Iterable[str]) -> None:
    """Refuse keys for encryption before nipype can write them into reports and pickles.

    Raises
    ------
    SettingsError
        Naming the argument, and not its value.
    """
    for name in names:
        if name.startswith(_SECRET):
            raise SettingsError(
                f"s3_upload_args: {name!r} is refused: nipype would write the secret into reports "
                "and pickles; use ServerSideEncryption 'aws:kms' with SSEKMSKeyId"
            )


def check_upload_args(names: Iterable[str]) -> None:
    """Refuse upload arguments that boto3 does not know or that are no setting of a whole sink.

    Raises
    ------
    SettingsError
        Naming the argument.
    """
    from boto3.s3.transfer import S3Transfer

    known = S3Transfer.ALLOWED_UPLOAD_ARGS
    refuse_secrets(names)
    for name in names:
        if name not in known:
            taken = ", ".join(each for each in known if _is_taken(each))
            raise SettingsError(f"s3_upload_args: boto3 has no {name!r}; set any of {taken}")
        if not _is_taken(name):
            raise SettingsError(
                f"s3_upload_args: {name!r} is refused: it says something about one object only"
            )


def _is_taken(name: str) -> bool:
    return name in _OF_ALL or not name.startswith((*_OF_ONE_OBJECT, *_SECRET))


def check_crt(*, injected: bool) -> None:
    """Refuse the AWS Common Runtime where it can be known before that it cannot send.

    Raises
    ------
    SettingsError
        If no recent awscrt is installed, or a bucket is injected.
    """
    if injected:
        raise SettingsError(
            "s3_transfer_client 'crt' cannot send to an injected bucket, whose client is used as "
            "it is; set 'auto' or 'classic'"
        )
    if not has_crt():
        raise SettingsError(
            "s3_transfer_client 'crt' needs a recent awscrt; run "
            "pip install 'nipype-datasink[crt]', or set 'auto' or 'classic'"
        )
