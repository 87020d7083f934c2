"""Check whether uploads are accepted, with the encryption that a sink asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from botocore.exceptions import ClientError

from nipype_datasink.delivery.check_report import StepVerdict
from nipype_datasink.display import escaped
from nipype_datasink.planning.location import S3Prefix
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.comparison import PART_BYTES
from nipype_datasink.s3.errors import ANONYMOUS_DENIED, DENIED, code_of, concerns_bucket, explain
from nipype_datasink.s3.findings import Finding, StepName
from nipype_datasink.s3.probe import ERRORS, Probe

_Result = TypeVar("_Result")

_NOT_IMPLEMENTED = ("NotImplemented", "MethodNotAllowed", "501", "405")

# Upload arguments that ask for encryption; None leaves one out.
_AES256: dict[str, str | None] = {"ServerSideEncryption": "AES256"}
_WITHOUT: dict[str, str | None] = dict.fromkeys(
    ("ServerSideEncryption", "SSEKMSKeyId", "SSEKMSEncryptionContext", "BucketKeyEnabled")
)


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What an upload has shown."""

    verdict: StepVerdict
    text: str
    advice: str = ""


class WriteCheck:
    """Begins and aborts an upload, or writes and deletes an object.

    Parameters
    ----------
    bucket
        Bucket, and upload arguments of the sink.
    probe
        Sends the requests.
    location
        Bucket and prefix.
    """

    def __init__(self, bucket: BucketClient, probe: Probe, location: S3Prefix) -> None:
        self._bucket = bucket
        self._probe = probe
        self._location = location
        self._accepted_encryption = bucket.encryption

    def begin_upload(self) -> WriteResult:
        """Begin an upload in parts and abort it.

        Raises
        ------
        botocore.exceptions.ClientError
            If the upload is refused, and nothing shows that another encryption is the cure. Any
            other error of boto3 is raised, too.
        """
        try:
            upload_id, problem = self._try_encryptions(self._probe.begin_upload)
        except ClientError as error:
            if code_of(error) not in _NOT_IMPLEMENTED:
                raise
            return WriteResult(
                StepVerdict.WARNING,
                "not known",
                f"this store has no uploads in parts: files larger than {PART_BYTES >> 20} MiB "
                "cannot be sent. Whether smaller ones can is shown by --write-object",
            )
        left = self._clean_up(
            lambda: self._abort(upload_id),
            f"the upload with the ID {upload_id!r} of the key {self._probe.key!r} could not be "
            "aborted",
            "s3:AbortMultipartUpload",
        )
        done = "begun, not aborted" if left else "begun and aborted"
        return self._result("upload in parts", done, problem, left)

    def _abort(self, upload_id: str) -> None:
        try:
            self._probe.abort_upload(upload_id)
        except ClientError as error:
            encrypted = self._accepted_encryption
            if not encrypted or code_of(error) not in DENIED or not self._probe.can_send(1):
                raise
            # SeaweedFS applies a policy that requires encryption to this request, too.
            self._probe.abort_upload(upload_id, encryption=encrypted)

    def write_object(self) -> WriteResult:
        """Write an object and delete it. Errors are raised as by `begin_upload`."""
        version, problem = self._try_encryptions(self._probe.write_object)
        left = self._clean_up(
            lambda: self._probe.delete_object(version),
            f"the object with the key {self._probe.key!r} could not be deleted",
            "s3:DeleteObjectVersion" if version else "s3:DeleteObject",
        )
        done = "written, not deleted" if left else "written and deleted"
        return self._result("object", done, problem, left)

    def explain_denied(self, error: Exception, *, signed: bool) -> Finding:
        """Return which permission is missing where an upload was denied."""
        if not signed:
            return Finding(StepName.IDENTITY, ANONYMOUS_DENIED)
        prefix, name = self._location.prefix, self._bucket.name
        folder = f"{prefix}/*" if prefix else "*"
        partition = self._bucket.client.meta.partition
        is_arn = name.startswith("arn:")
        resource = f"{name}/object/{folder}" if is_arn else f"arn:{partition}:s3:::{name}/{folder}"
        text = f"access is denied; the identity needs s3:PutObject on {resource}"
        return Finding(StepName.WRITE, f"{text}{self._about_encryption()}{_store_says(error)}")

    def _about_encryption(self) -> str:
        encryption = self._bucket.encryption
        if encryption is None:
            return ", or the bucket's policy requires encryption by KMS (see s3_upload_args)"
        if encryption.startswith("aws:kms"):
            return ", and kms:GenerateDataKey and kms:Decrypt on the KMS key"
        return f", or the bucket's policy requires another encryption than {encryption}"

    def _try_encryptions(self, send: Callable[..., _Result]) -> tuple[_Result, str]:
        """Return the result of `send`, and what is wrong with the encryption of the sink.

        If the request is refused, it is sent once more with another encryption, provided that the
        number of requests allows it. If that is refused too, the first error is raised.
        """
        try:
            return send(), ""
        except ClientError as error:
            encryption = self._bucket.encryption
            denied = code_of(error) in DENIED and not concerns_bucket(error)
            if denied and encryption is None:
                changed, problem = (
                    _AES256,
                    (
                        "the bucket's policy requires encryption, and this sink asks for none; set "
                        "encrypt_bucket_keys"
                    ),
                )
            elif encryption and not denied and not concerns_bucket(error):
                changed, problem = (
                    _WITHOUT,
                    (
                        f"the store refuses the encryption {encryption}: "
                        f"{escaped(explain(error))}; unset encrypt_bucket_keys, or "
                        "ServerSideEncryption in s3_upload_args"
                    ),
                )
            else:
                raise
            if not self._probe.can_send(2):
                raise
            try:
                result = send(**changed)
            except ERRORS:
                raise error from None
            self._accepted_encryption = changed["ServerSideEncryption"]
            return result, problem

    def _clean_up(self, remove: Callable[[], None], text: str, permission: str) -> str:
        """Remove what was made; return what remains and what to do, or empty text."""
        try:
            remove()
        except ERRORS as error:
            denied = code_of(error) in DENIED
            why = f"it needs {permission}" if denied else escaped(explain(error))
            return f"{text} ({why}); remove it yourself, or by a lifecycle rule"
        return ""

    def _result(self, what: str, done: str, problem: str, left: str) -> WriteResult:
        encryption = self._bucket.encryption
        if problem:
            text = f"{what} accepted only {'without encryption' if encryption else 'with AES256'}"
            return WriteResult(StepVerdict.FAILED, text, "\n".join(filter(None, (problem, left))))
        text = f"{what} {done}, {encryption}" if encryption else f"{what} {done}"
        return WriteResult(StepVerdict.WARNING if left else StepVerdict.OK, text, left)


def _store_says(error: Exception) -> str:
    """Return the message of a store that names the user or the policy; AWS's does."""
    message = ""
    if isinstance(error, ClientError):
        message = str(error.response.get("Error", {}).get("Message", ""))
    return f'. The store says: "{message}"' if "not authorized" in message else ""
