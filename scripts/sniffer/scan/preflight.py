"""What can be known to be wrong before the first image is touched, asked of MySQL, the model server and S3."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.locations import bucket_of
from sniffer.adapters.serving import ModelServer
from sniffer.core.errors import ContractError, TransientError
from sniffer.core.metrics import NO_METRICS, Metrics, counting_retries
from sniffer.core.model_records import ModelRecord
from sniffer.core.records import ScanRequest
from sniffer.core.retry import Retry, RetryLater
from sniffer.core.settings import database_settings, fetch_settings, image_settings, serving_settings
from sniffer.scan.request import STABLE, ScanOptions

T = TypeVar("T")


def check_everything(
    database: Database, options: ScanOptions, metrics: Metrics, *, may_resume: bool
) -> tuple[ModelRecord, Bucket]:
    """Everything that can be known to be wrong before the first image is touched.

    A first start fails at once. A scan that has run before is as patient with what is away as in its middle. So is a
    shard of one that has: each further shard, and each further part of one, is the middle of the whole.
    """
    ask("MySQL", database.check, database_settings().patience_s if may_resume else 0)
    resumes = may_resume and (options.shard is not None or database.scans.is_known(options.request.scan_id))
    model, serving = resolve_model(database, options.model_version), serving_settings()
    with ModelServer(serving) as server:
        ask("the model server", lambda: server.check(model.version), serving.patience_s if resumes else 0)
    patience_s = fetch_settings().patience_s if resumes else 0
    bucket = ask("S3", lambda: open_checked_bucket(options.request, metrics), patience_s)
    return model, bucket


def ask(system: str, question: Callable[[], T], patience_s: float) -> T:
    """The answer of a system, which is asked again for so long while it is away; without patience once."""
    if not patience_s:
        return question()

    def attempt() -> T:
        try:
            return question()
        except TransientError as error:
            raise RetryLater(str(error)) from error

    return Retry(system, "run the same command again", patience_s, first_pause_s=0.5).call(attempt)


def open_checked_bucket(request: ScanRequest, metrics: Metrics = NO_METRICS) -> Bucket:
    """The bucket, of which a listing under the prefix and an object could be read."""
    on_retry = counting_retries(metrics, "s3")
    bucket = bucket_of(request.bucket, fetch_settings(), image_settings().max_bytes, on_retry=on_retry)
    bucket.check(request.prefix)
    return bucket


def resolve_model(database: Database, version: int | None) -> ModelRecord:
    """That model version, or the stable one; ContractError when there is none that this release can ask."""
    model = database.models.stable() if version is None else database.models.get(version)
    if model is None:
        raise ContractError(
            f"no model is {STABLE} yet: roll one out, or name one with --model-version"
            if version is None
            else f"model version {version} is not registered in MySQL: export it with `sniffer model export`"
        )
    if model.preprocessing_version != PREPROCESSING_VERSION:
        raise ContractError(
            f"model version {model.version} was trained on pixels of preprocessing {model.preprocessing_version}, this "
            f"program makes {PREPROCESSING_VERSION}: scan with the release it was trained with, or retrain"
        )
    return model
