"""The tables as SQLAlchemy sees them, for this package alone; the migrations create them, a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BINARY,
    CHAR,
    JSON,
    VARBINARY,
    BigInteger,
    Column,
    Computed,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)
from sqlalchemy.dialects.mysql import DATETIME

from sniffer.core.records import Outcome

SCHEMA_VERSION = "0021"
"""The migration that this code needs; `sniffer migrate` brings a database there."""

metadata = MetaData()


def _who_decided() -> tuple[Column[str], ...]:
    return (
        Column("requested_by", String(200), doc="who asked for it: Airflow's user; empty: a schedule, or not known"),
        Column("approved_by", String(200), doc="who approved it: Airflow's user; empty: nobody was asked"),
        Column("approval_reason", String(2000), doc="why, in the approver's words"),
    )


models = Table(
    "models",
    metadata,
    Column(
        "version",
        Integer,
        primary_key=True,
        autoincrement=False,
        doc="counts up from 1; the folder of the version in the model base has this name",
    ),
    Column(
        "digest",
        String(64),
        doc="SHA-256 of the published files, hex; empty while the version is reserved and not exported yet",
    ),
    Column("backbone_digest", String(64), doc="SHA-256 of the backbone's weights, hex"),
    Column(
        "preprocessing_version",
        String(64),
        doc="which release's decoding the model was trained on; a scan refuses any other",
    ),
    Column(
        "threshold", Double, doc="an image is flagged when its score is at or above this; change it with one UPDATE"
    ),
    Column("metrics", JSON, doc="the figures of the evaluation"),
    Column("judged", String(16), doc="what the gate said: `candidate` (nothing yet), `blessed` or `rejected`"),
    Column(
        "production",
        String(16),
        doc="what a rollout made of it: `stable` (at most one) or `previous` (at most one); empty: neither",
    ),
    Column(
        "status",
        String(16),
        # Two columns below it, so that rights can tell who judges from who puts a version into production.
        Computed("coalesce(production, judged)", persisted=False),
        doc="of both, `production` where it is not empty, else `judged`",
    ),
    Column("registered_at", DATETIME(fsp=6), doc="UTC"),
    Column(
        "candidate_digest",
        String(64),
        unique=True,
        doc="names the training at its threshold that the version is reserved for, hex",
    ),
    Column("verdict", JSON(none_as_null=True), doc="the verdict in force; all are in `verdicts`"),
    *_who_decided(),
    info={
        "doc": "One row for each model version: which files it is, how good it is, and whether it is in production. "
        "A scan reads it to find the stable version; the gate writes `judged`, a rollout `production`. Who decided is "
        "of the last time that the version became stable; all times are in `promotions`."
    },
)

promotions = Table(
    "promotions",
    metadata,
    Column("number", BigInteger, primary_key=True, doc="counts up"),
    Column("version", Integer, doc="the version that became stable, as in `models`"),
    Column("previous_stable", Integer, doc="the version that was stable before; empty: none"),
    Column("promoted_at", DATETIME(fsp=6), doc="UTC"),
    *_who_decided(),
    info={"doc": "Every change of the stable version, by rollout or roll-back, and who decided: rows are only added."},
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("number", BigInteger, primary_key=True, doc="counts up in the order of the verdicts"),
    Column("version", Integer, doc="as in `models`"),
    Column("judged_at", DATETIME(fsp=6), doc="UTC"),
    Column("verdict", JSON, doc="what the gate decided, with every reason, and who overrode it"),
    info={
        "doc": "Every verdict on every version: rows are only added. The one in force is in `models`; that of a "
        "version that is or was exported stays in force."
    },
)

reports = Table(
    "reports",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False, doc="as in `models`"),
    # Not in `models`, which every scan reads.
    Column("page", LargeBinary, doc="the HTML page, compressed with zlib"),
    Column(
        "changed_images",
        LargeBinary,
        doc="small pictures of test images that this version and the stable one decide differently, as JSON compressed "
        "with zlib; empty: there was no stable version to compare with",
    ),
    info={"doc": "The page with the figures of each version that was judged, for Airflow's UI and for audits."},
)

COUNT_COLUMNS = {"listed": "objects that belong to the scan"} | {
    outcome.value: f"objects that ended `{outcome}`" for outcome in Outcome
}

scans = Table(
    "scans",
    metadata,
    Column("number", BigInteger, primary_key=True, doc="a number, for joins"),
    Column(
        "scan_id",
        String(120),
        unique=True,
        doc="the name given with `--scan-id`, or one that sorts by time; Airflow's is DAG id and run id",
    ),
    Column("run_number", Integer, doc="how often the scan was started; only the newest run may write"),
    Column("discarded_run", Integer, doc="the scores of this run and of those before it were discarded; 0: of none"),
    Column("bucket", String(255), doc="the S3 bucket"),
    Column("prefix", VARBINARY(1024), doc="only keys that start with it"),
    Column(
        "source_digest",
        BINARY(32),
        doc="SHA-256 of the bucket and of `--flood-source` (else the prefix): scans whose shares of flagged images are "
        "compared have the same",
    ),
    Column("window_since", DATETIME(fsp=6), doc="only objects modified at or after, UTC; empty: no bound"),
    Column("window_until", DATETIME(fsp=6), doc="only objects modified before, UTC; empty: no bound"),
    Column("model_version", Integer, doc="the version that this scan asks, from start to end"),
    Column("threshold", Double, doc="the model's threshold when the newest run began"),
    Column("dag_run", String(255), doc="the Airflow run that asked, if one did"),
    Column("request", JSON, doc="all that was asked, as JSON"),
    Column(
        "state",
        String(16),
        doc="`running`, `complete` (the certificate holds), `incomplete`, `held` (what it flagged waits for a "
        "person) or `discarded` (its scores are deleted; run it again)",
    ),
    *(Column(name, BigInteger, doc=doc) for name, doc in COUNT_COLUMNS.items()),
    Column("images_per_s", Double, doc="images that were not unchanged, by the duration"),
    Column("certificate", JSON, doc="the certificate as JSON; empty while the scan runs"),
    Column("started_at", DATETIME(fsp=6), doc="UTC"),
    Column("finished_at", DATETIME(fsp=6), doc="UTC; empty while the scan runs"),
    info={"doc": "One row for each scan."},
)

leases = Table(
    "leases",
    metadata,
    Column("scan_number", BigInteger, primary_key=True, autoincrement=False, doc="as in `scans`"),
    Column(
        "lease_until",
        DATETIME(fsp=6),
        doc="UTC; the scan's process moves it on every few seconds, so a `running` scan whose lease is over is dead",
    ),
    Column("holder", String(255), doc="the machine and the process that run the scan"),
    # Not in `scans`, whose row every storing transaction locks to see which run is the newest.
    info={"doc": "Which scans are running now: one row for each scan that has not ended."},
)

shards = Table(
    "shards",
    metadata,
    Column("scan_number", BigInteger, primary_key=True, autoincrement=False, doc="the whole scan, as in `scans`"),
    Column("shard", Integer, primary_key=True, autoincrement=False, doc="counts up from 1, in the order of the keys"),
    Column(
        "part",
        Integer,
        primary_key=True,
        autoincrement=False,
        doc="1, or one more for what the part before it, which ended early, has left over",
    ),
    Column("after_key", VARBINARY(1024), doc="only keys after this one; empty: from the first"),
    Column("up_to_key", VARBINARY(1024), doc="and up to this one; empty: to the last"),
    Column("planned_keys", BigInteger, doc="about how many keys; 0 for what a part has left over"),
    Column(
        "part_scan_id",
        String(120),
        doc="its own scan, as in `scans`, which has its state, its runs and its counts; not there: nobody has begun",
    ),
    Column("planned_at", DATETIME(fsp=6), doc="UTC"),
    info={
        "doc": "Into which ranges of keys a scan was cut: they tile all keys. The row of the whole in `scans` is "
        "`running` until all of them are complete and certified together."
    },
)

estimates = Table(
    "estimates",
    metadata,
    Column("scan_number", BigInteger, primary_key=True, autoincrement=False, doc="the whole scan, as in `scans`"),
    Column("digest", CHAR(64), doc="SHA-256 of the plan with the estimate, which is what is approved"),
    Column("estimate", JSON, doc="the counts and the estimated figures as JSON"),
    Column("estimated_at", DATETIME(fsp=6), doc="UTC"),
    # What is written by whoever estimates can never be what counts as an approval: grants are by column.
    Column("approved_digest", CHAR(64), doc="the digest that was approved: it counts only while `digest` is the same"),
    Column("approved_by", String(200), doc="who approved it; empty: nobody had to, or nobody has yet"),
    Column("approval_reason", String(2000), doc="why"),
    Column("approved_at", DATETIME(fsp=6), doc="UTC; empty: it waits for an approval"),
    info={
        "doc": "What the scan of a whole bucket is estimated to take and to cost, by `sniffer estimate`. With a share "
        "of growth in it, the shards of that scan are refused until it is approved, and when the bucket has grown more."
    },
)

tallies = Table(
    "tallies",
    metadata,
    Column("scan_number", BigInteger, primary_key=True, autoincrement=False, doc="as in `scans`"),
    Column("run_number", Integer, primary_key=True, autoincrement=False, doc="the scan's run"),
    # A row of its own for each consumer, so that they never wait for one another.
    Column("writer", BigInteger, primary_key=True, autoincrement=False, doc="one consumer process, a random number"),
    Column("outcome", String(16), primary_key=True, doc="see [outcomes](outcomes.md)"),
    Column("code", String(64), primary_key=True, doc="see [outcomes](outcomes.md); empty when there is a score"),
    Column("images", BigInteger, doc="images that ended so"),
    Column("flagged", BigInteger, doc="those of them at or above the threshold"),
    Column("digest", BINARY(32), doc="the sum of their identities modulo 2^256"),
    info={
        "doc": "What each run of a scan has committed, counted in the same transaction as the rows: a certificate "
        "compares it with what was acknowledged. A writer's count may be negative where it replaced another's."
    },
)

images = Table(
    "images",
    metadata,
    Column("image_id", BigInteger, primary_key=True, doc="a number, for joins"),
    Column(
        "identity",
        BINARY(32),
        unique=True,
        doc="SHA-256 of bucket, ETag, size, last modified and key: makes the row unique",
    ),
    Column("bucket", String(255), doc="the S3 bucket"),
    # Binary: S3 compares keys byte by byte, and every MySQL collation pads, folds or both somewhere.
    Column("object_key", VARBINARY(1024), doc="the key as bytes of UTF-8, compared byte by byte"),
    Column(
        "key_text",
        String(1024),
        Computed("CONVERT(object_key USING utf8mb4)", persisted=False),
        doc="the key as text; made from `object_key`, and indexed with the bucket and last modified",
    ),
    Column("etag", String(255), doc="as S3 listed it, without quotes"),
    Column("size_bytes", BigInteger, doc="as listed"),
    Column("last_modified", DATETIME(fsp=6), doc="as listed, UTC"),
    Column("content_hash", BINARY(32), doc="SHA-256 of the bytes; empty until they were read"),
    info={
        "doc": "One row for each object that a scan has seen: a key with an ETag, a size and a date. "
        "An object that is replaced gets a second row."
    },
)

predictions = Table(
    "predictions",
    metadata,
    Column("image_id", BigInteger, primary_key=True, doc="as in `images`"),
    Column("model_version", Integer, primary_key=True, doc="as in `models`"),
    Column("scan_number", BigInteger, doc="the scan that wrote the row, as in `scans`; 0: one that is not there"),
    Column("run_number", Integer, doc="the run of that scan; 0: written before runs had numbers"),
    Column(
        "outcome",
        String(16),
        doc="see [outcomes](outcomes.md); `unchanged` and `skipped` are counted in `scans` and have no row",
    ),
    Column("score", Double, doc="0 to 1, the probability of drugs; empty unless `predicted` or `reused`"),
    Column("rendering", String(64), doc="which picture of the file has that score; empty: there is only one"),
    # Set on `predicted` rows only: one row per distinct bytes, so that the look-up for reuse never walks a
    # million copies of one placeholder image.
    Column(
        "scored_hash",
        BINARY(32),
        doc="the content hash, set on `predicted` rows only: finds a score for the same bytes",
    ),
    Column("error_code", String(64), doc="see [outcomes](outcomes.md); empty when there is a score"),
    Column("error_message", String(500), doc="the same for a person"),
    Column(
        "decoder_version",
        Integer,
        doc="set on `unreadable` rows: which decoder gave it up; a release with a newer one tries again",
    ),
    Column("scored_at", DATETIME(fsp=6), doc="UTC"),
    Column(
        "counted_for",
        String(160),
        doc="scan, run, outcome and code, where a scan beside the one of the row has counted this image otherwise",
    ),
    info={"doc": "What became of an image by one model version: one row for each image and version."},
)

holds = Table(
    "holds",
    metadata,
    Column("scan_number", BigInteger, primary_key=True, autoincrement=False, doc="as in `scans`"),
    Column("reason", String(500), doc="by how much its share of flagged images left the band of the past"),
    Column("held_at", DATETIME(fsp=6), doc="UTC"),
    # Beside `scans` and small, so that the views look each row's scan up at almost no cost.
    info={
        "doc": "The scans that are held now: what they scored is in no view of flagged images. `sniffer release` or "
        "`sniffer discard` takes a scan out."
    },
)

hold_decisions = Table(
    "hold_decisions",
    metadata,
    Column("number", BigInteger, primary_key=True, doc="counts up"),
    Column("scan_number", BigInteger, doc="as in `scans`"),
    Column("run_number", Integer, doc="the scan's newest run then"),
    Column("decision", String(16), doc="`held`, `released` or `discarded`"),
    Column("decided_by", String(200), doc="who; empty: the scan itself, which was held"),
    Column("reason", String(2000), doc="why"),
    Column("results", BigInteger, doc="of `discarded`: how many scores were deleted; empty: it had only begun"),
    Column("decided_at", DATETIME(fsp=6), doc="UTC"),
    info={
        "doc": "Every time that a scan was held, released or discarded, by whom and why: rows are only added. A "
        "discard has two, one of when it began; a first one alone was interrupted, and the scan is still held."
    },
)

erasures = Table(
    "erasures",
    metadata,
    Column("number", BigInteger, primary_key=True, doc="counts up"),
    Column("bucket", String(255), doc="the S3 bucket"),
    Column("kind", String(16), doc="`key`, or `prefix` for all keys that start so"),
    Column("target_digest", BINARY(32), doc="SHA-256 of the key or the prefix, which is not kept itself"),
    Column("requested_by", String(200), doc="who asked for it"),
    Column("reason", String(2000), doc="why"),
    Column("images", BigInteger, doc="rows of `images` that went; empty: it had only begun"),
    Column("predictions", BigInteger, doc="rows of `predictions` that went"),
    Column("certificates", BigInteger, doc="certificates that named such a key, and do so no more"),
    Column("copies", BigInteger, doc="copies of decided images that were deleted from buckets of your own"),
    Column("recorded_at", DATETIME(fsp=6), doc="UTC"),
    info={
        "doc": "What `sniffer erase` has deleted, for whom and why: rows are only added. Each erasure has two, one of "
        "before anything went and one of when all was gone; a first one alone was interrupted."
    },
)
