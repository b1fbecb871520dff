"""The figures that a running scan gives to Prometheus, as data, and what loops tell them to: by itself, nobody.

The adapter makes Prometheus's objects of these records; the reference page is made of them, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from sniffer.core.outcomes import CODES
from sniffer.core.records import Outcome

T = TypeVar("T")

OTHER = "other"
"""The label value that stands for whatever a metric does not foresee: no key or message becomes a label."""

TABLES = (
    "drift_tests",
    "erasures",
    "estimates",
    "hold_decisions",
    "holds",
    "images",
    "kept_images",
    "leases",
    "models",
    "near_duplicates",
    "predictions",
    "promotions",
    "recall_draws",
    "recall_figures",
    "reports",
    "review_accounts",
    "review_attempts",
    "review_decisions",
    "review_leases",
    "review_log",
    "review_log_head",
    "review_looks",
    "review_oidc_logins",
    "review_queue",
    "review_sample_strata",
    "review_samples",
    "review_sessions",
    "scans",
    "shards",
    "tallies",
    "verdicts",
)
"""The tables of MySQL, whose names core cannot ask for: a test compares them."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


@dataclass(frozen=True, slots=True)
class AnyName:
    """The values of a label that names what a team has some of. `meaning` is told to readers."""

    meaning: str


ANY_DAG, ANY_BUCKET = AnyName("id of a DAG"), AnyName("name of a bucket")


class Kind(StrEnum):
    """How Prometheus counts it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Giver(StrEnum):
    """The program that gives a figure; `sniffer scan` gives those of produce and consume."""

    PRODUCER = "produce"
    CONSUMER = "consume"
    BOTH = "produce, consume"
    STATE = "state-metrics"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. `labels` has the values that each label may have, or which names: any other becomes OTHER."""

    name: str
    kind: Kind
    giver: Giver
    meaning: str
    labels: Mapping[str, tuple[str, ...] | AnyName] = field(default_factory=dict, hash=False)
    buckets: tuple[float, ...] = ()

    def bounded(self, label: str, value: str) -> str:
        """The value, if it is one that the label may have, else OTHER."""
        foreseen = self.labels[label]
        may_be = _NAME.fullmatch(value) is not None if isinstance(foreseen, AnyName) else value in foreseen
        return value if may_be else OTHER


_OUTCOMES = {"outcome": tuple(map(str, Outcome))}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

LISTED = Metric(
    "sniffer_listed_objects_total",
    Kind.COUNTER,
    Giver.PRODUCER,
    "objects that the scan has listed, in its window and up to its limit",
)
IMAGES = Metric(
    "sniffer_images_total",
    Kind.COUNTER,
    Giver.PRODUCER,
    "listed objects that have their outcome; those with a row count once it is committed. Less "
    "`sniffer_corrected_images_total` it is the certificate's count",
    _OUTCOMES,
)
CORRECTED = Metric(
    "sniffer_corrected_images_total",
    Kind.COUNTER,
    Giver.PRODUCER,
    "objects that were counted under this outcome, and then under another: given up, and scored after all",
    _OUTCOMES,
)
FETCHED_BYTES = Metric(
    "sniffer_fetched_bytes_total",
    Kind.COUNTER,
    Giver.PRODUCER,
    "bytes of images read from S3; an image that is handed out again is read again",
)
QUEUE = Metric(
    "sniffer_queue_images",
    Kind.GAUGE,
    Giver.PRODUCER,
    "images under way: listed and to be fetched, being fetched or ready, held by consumers",
    {"queue": ("to_fetch", "on_hand", "held")},
)
CREDIT = Metric(
    "sniffer_credit_images", Kind.GAUGE, Giver.PRODUCER, "images that the living consumers would take at once"
)
CONSUMERS = Metric("sniffer_consumers", Kind.GAUGE, Giver.PRODUCER, "consumers that are taken for alive")
LISTING_FINISHED = Metric(
    "sniffer_listing_finished", Kind.GAUGE, Giver.PRODUCER, "1 once everything is listed, 0 before"
)
LAST_PROGRESS = Metric(
    "sniffer_last_progress_timestamp_seconds",
    Kind.GAUGE,
    Giver.PRODUCER,
    "when something was listed or got its outcome last (Unix time); at first, when the scan began",
)
CERTIFICATES = Metric(
    "sniffer_certificates_total",
    Kind.COUNTER,
    Giver.PRODUCER,
    "scans that ended with a certificate that holds, with a broken one, or `held` for a person to decide; one at most "
    "for each process. `of` is `scan`, or `shard` of one that is cut into shards; then there is one more of "
    "`all_shards`, by the shard that ended last",
    {"result": ("holds", "broken", "held"), "of": ("scan", "shard", "all_shards")},
)
NEXT_DUE = Metric(
    "sniffer_next_scan_due_timestamp_seconds",
    Kind.GAUGE,
    Giver.PRODUCER,
    "by when the next scan of the DAG's schedule is to have ended well (Unix time); given by a scan of the schedule "
    "once its own certificate holds, for all of its shards",
    {"dag": ANY_DAG},
)
HELD_SCANS = Metric(
    "sniffer_held_scans", Kind.GAUGE, Giver.STATE, "scans that are held now; of one in shards, the whole is one"
)
BROKEN_SCANS = Metric(
    "sniffer_broken_scans",
    Kind.GAUGE,
    Giver.STATE,
    "scans and shards of the last 90 days whose certificate does not hold, until they are run again, given up, or a "
    "later scan of the same source, keys and window has ended well",
)
TABLE_BYTES = Metric(
    "sniffer_table_bytes",
    Kind.GAUGE,
    Giver.STATE,
    "how large a table is with its indexes, as MySQL estimates it",
    {"table": TABLES},
)
_KINDS = ("flagged_share", "scores")
FLAGGED_SHARE_OF_NIGHT = Metric(
    "sniffer_flagged_share",
    Kind.GAUGE,
    Giver.STATE,
    "share of flagged images of a bucket's newest night (`of`: `newest`), and that of the nights before it (`past`; "
    "missing while these are too few)",
    {"bucket": ANY_BUCKET, "of": ("newest", "past")},
)
DRIFT_P_VALUE = Metric(
    "sniffer_drift_p_value",
    Kind.GAUGE,
    Giver.STATE,
    "how likely a night like its past would be at least as far from it as the bucket's newest one is, by its flagged "
    "share and by all of its scores ([recall.md](recall.md#drift)); missing while there are too few nights",
    {"bucket": ANY_BUCKET, "kind": _KINDS},
)
DRIFT_ALARM = Metric(
    "sniffer_drift_alarm",
    Kind.GAUGE,
    Giver.STATE,
    "1 where that p-value is an alarm, else 0: until a newer night is measured, or for 35 days",
    {"bucket": ANY_BUCKET, "kind": _KINDS},
)
STATE_READ = Metric(
    "sniffer_state_read_timestamp_seconds",
    Kind.GAUGE,
    Giver.STATE,
    "when the state was read from MySQL last (Unix time); the other figures of `state-metrics` are of that moment",
)
DISK_FREE = Metric(
    "sniffer_disk_free_bytes",
    Kind.GAUGE,
    Giver.BOTH,
    "free bytes where the program writes: its `temporary` files, and its `result`",
    {"folder": ("temporary", "result")},
)
DISK_SIZE = Metric(
    "sniffer_disk_size_bytes",
    Kind.GAUGE,
    Giver.BOTH,
    "size of the file system with that folder",
    {"folder": ("temporary", "result")},
)
ROWS = Metric(
    "sniffer_rows_total",
    Kind.COUNTER,
    Giver.CONSUMER,
    "rows committed, by outcome and error code ([outcomes.md](outcomes.md)); empty for a score. An image that was "
    "handed out twice may count twice",
    {**_OUTCOMES, "code": ("", *CODES)},
)
STAGE_SECONDS = Metric(
    "sniffer_stage_seconds",
    Kind.HISTOGRAM,
    Giver.BOTH,
    "time of a stage: `list` a page and look it up, `fetch` an image with retries, `wait` for a consumer once fetched, "
    "`decode` an image, `predict` a request's images with retries, `write` a batch's rows with retries",
    {"stage": ("list", "fetch", "wait", "decode", "predict", "write")},
    _SECONDS,
)
MODEL_SERVER_SECONDS = Metric(
    "sniffer_model_server_seconds",
    Kind.HISTOGRAM,
    Giver.CONSUMER,
    "time of one request to the model server, from sending it to the whole answer; `failed` is what is retried",
    {"result": ("answered", "failed")},
    _SECONDS,
)
RETRIES = Metric(
    "sniffer_retries_total",
    Kind.COUNTER,
    Giver.BOTH,
    "attempts that failed for the moment and were made again",
    {"system": ("s3", "mysql", "serving")},
)

METRICS: tuple[Metric, ...] = tuple(value for value in globals().values() if isinstance(value, Metric))


class Metrics:
    """Where figures go. This one forgets them all and reads no clock, so that a simulation stays what it is."""

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Count so many more. Any thread."""

    def raise_to(self, metric: Metric, total: float, **labels: str) -> None:
        """A counter that somebody else keeps has reached that total. One thread only."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """A gauge has that value now."""

    def set_only(self, metric: Metric, values: Mapping[tuple[str, ...], float]) -> None:
        """A gauge has these values now, each by its labels in their order, and no others. One thread only."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """One more value of a histogram. Any thread."""

    def stamp(self, metric: Metric) -> None:
        """A gauge of times is now."""

    def conclude(self) -> None:
        """No figure of what is stored changes any more."""

    def linger(self) -> None:
        """Wait until somebody has read the concluded figures, for as long as settings allow. Not concluded: no wait."""

    def stop_lingering(self) -> None:
        """Wait no longer. Safe in a signal handler."""

    def of_scan(self, scan_id: str) -> None:
        """What follows is of that scan."""

    def batch(self, images: int) -> AbstractContextManager[object]:  # noqa: ARG002
        """The block scores a batch of so many images."""
        return nullcontext()

    def timed(self, metric: Metric, **labels: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Observe how many seconds the block takes, also when it raises."""
        return nullcontext()


NO_METRICS = Metrics()


def each_timed(metrics: Metrics, metric: Metric, items: Iterator[T], **labels: str) -> Iterator[T]:
    """The same items; the time until each one comes is observed."""
    while True:
        with metrics.timed(metric, **labels):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def counting_retries(metrics: Metrics, system: str) -> Callable[[], None]:
    """What to call for each retry of that system."""
    return lambda: metrics.add(RETRIES, system=system)
