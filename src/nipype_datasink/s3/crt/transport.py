"""Send files through the AWS Common Runtime: small ones in one request, large ones in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nipype_datasink.delivery.outcome import Outcome
from nipype_datasink.delivery.progress import PhaseProgress
from nipype_datasink.parallel import Pool, parallel_map, raise_if_cancelled
from nipype_datasink.planning.plan import FileTransfer
from nipype_datasink.s3.bucket_client import BucketClient
from nipype_datasink.s3.circuit_breaker import CircuitBreaker
from nipype_datasink.s3.concurrency import CRT_PARTS, CRT_REQUESTS, ConcurrencyEstimator
from nipype_datasink.s3.crt.errors import translate_error
from nipype_datasink.s3.crt.request import RequestTemplate
from nipype_datasink.s3.crt.scheduler import Limits, Scheduler
from nipype_datasink.s3.crt.throttling import max_attempts
from nipype_datasink.s3.crt.upload import Upload, Uploader
from nipype_datasink.s3.part_digests import PartDigests
from nipype_datasink.s3.transport import check_unchanged, sent_outcome
from nipype_datasink.s3.verification import UploadVerifier

if TYPE_CHECKING:
    from awscrt.s3 import S3Client as CrtClient

_VERIFYING_THREADS = 2  # as large files are sent two at a time


class CrtTransport:
    """Send files through the AWS Common Runtime, in the order in which they come.

    Parameters
    ----------
    bucket
        Where the files are sent.
    client
        The runtime's.
    template
        What all requests have in common.
    estimator
        Estimates the number of concurrent requests.
    phase
        Counts what is sent.
    """

    def __init__(
        self,
        bucket: BucketClient,
        client: CrtClient,
        template: RequestTemplate,
        *,
        estimator: ConcurrencyEstimator,
        phase: PhaseProgress,
    ) -> None:
        self._bucket = bucket
        self._estimator = estimator
        self._uploader = Uploader(bucket, client, template, phase)
        self._part_digests = PartDigests.for_uploads_to(bucket)
        self._verifier = UploadVerifier(bucket, self._part_digests)

    def send(self, transfers: Sequence[FileTransfer], breaker: CircuitBreaker) -> list[Outcome]:
        """Send files; return the outcome of each, in the order of `transfers`."""
        limits = Limits(
            requests=self._estimator.estimate(CRT_REQUESTS),
            parts=min(self._estimator.estimate(CRT_PARTS), CRT_PARTS.maximum),
            attempts=max_attempts(self._bucket.client),
        )
        with Pool(_VERIFYING_THREADS) as pool:
            scheduler = Scheduler(
                self._uploader,
                verify=self.verify,
                translate=lambda error: translate_error(error, self._bucket.client),
                limits=limits,
                breaker=breaker,
                pool=pool,
                part_digests=self._part_digests,
            )
            # In a thread of its own: Python raises KeyboardInterrupt in the main thread, between
            # any two instructions. There it could come after an upload has started and before the
            # scheduler knows of it; then nothing would cancel that upload.
            parallel_map(
                scheduler.run,
                [transfers],
                threads=1,
                own_thread=True,
                on_interrupt=scheduler.cancel,
            )
        return [scheduler.outcome(transfer) for transfer in transfers]

    def verify(self, upload: Upload) -> Outcome:
        """Return the outcome of an upload that the store has accepted."""
        raise_if_cancelled()  # large files may wait long for a thread
        transfer, size, response = upload.transfer, upload.version[0], upload.response
        try:
            check_unchanged(transfer.source, upload.version)
            verified = self._verifier.verify(transfer, size, response)
        except Exception as error:  # noqa: BLE001 - no error of one file may end the others
            return Outcome.failure(transfer, error)
        finally:
            self._part_digests.abandon(transfer)
        upload.progress.finish()
        return sent_outcome(transfer, size, response, verified=verified)
