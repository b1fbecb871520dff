"""Every environment variable that a program of ours reads, as data.

The settings are read through these records, and help texts and the reference page are made of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sniffer.core.setting import Setting, integer, seconds, share, text, yes_or_no

MIB = 1 << 20

_DATABASE, _SERVING, _IMAGES, _S3 = "MySQL", "Model server", "Images", "S3"
_FLEET, _CURVE, _ROLLOUT = "Scan", "Fleet over a network", "Rollout"
_AIRFLOW, _LOGS, _METRICS, _SHARDS = "Airflow", "Logs", "Metrics", "Shards"
_REVIEW = "Review"

LOG_FORMAT = text(_LOGS, "SNIFFER_LOG_FORMAT", "form of the log: text, or json for one JSON object a line", "text")

MAX_PORT = 65535
METRICS_PORT: Setting[int | None] = Setting(
    _METRICS,
    "SNIFFER_METRICS_PORT",
    None,
    "port of the metrics for Prometheus, 0 for a free one, which the log names",
    int,
    minimum=0,
    shown="none: there are no metrics",
    maximum=MAX_PORT,
)
METRICS_HOST = text(
    _METRICS, "SNIFFER_METRICS_HOST", "address that the metrics listen on; 0.0.0.0 in a pod", "127.0.0.1"
)
METRICS_TARGETS = text(
    _METRICS,
    "SNIFFER_METRICS_TARGETS",
    "folder of this machine where a program says its address to Prometheus, in a file for `file_sd_configs`, while its "
    "metrics are served",
    example="/var/lib/prometheus/sniffer",
)
METRICS_LINGER_S = seconds(
    _METRICS,
    "SNIFFER_METRICS_LINGER_S",
    20.0,
    0,
    "how long a scan that is done waits for Prometheus to read its last figures: until the next time it asks, and no "
    "longer than this",
)

TRACES_EXPORTER = text(
    _METRICS,
    "OTEL_TRACES_EXPORTER",
    "otlp sends the stages of scans as OpenTelemetry spans, by OTLP over HTTP",
    shown="none",
)
OTEL = text(
    _METRICS,
    "OTEL_*",
    "where they go, how many, and as whose, as every OpenTelemetry SDK reads them",
    example="OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME",
)

SHARD_KEYS = integer(
    _SHARDS, "SNIFFER_SHARD_KEYS", 1_000_000, 1, "a scan is cut into shards of about so many keys; below, it is one"
)
SHARD_IMAGES = integer(
    _SHARDS, "SNIFFER_SHARD_IMAGES", 2_000_000, 1, "a shard's scan ends after so many images; its rest is a further one"
)
SHARD_S = seconds(
    _SHARDS, "SNIFFER_SHARD_S", 7200.0, 1, "and hands out no further image after so long, so that no task runs for days"
)

DATABASE_URL = text(
    _DATABASE,
    "SNIFFER_DATABASE_URL",
    "where results go, as an SQLAlchemy URL with the password percent-encoded",
    example="mysql+mysqldb://user:password@host/database",
    secret=True,
)
DATABASE_PATIENCE_S = seconds(
    _DATABASE, "SNIFFER_DATABASE_PATIENCE_S", 180.0, 0, "how long a MySQL that does not answer is retried"
)

SERVING_URL = text(
    _SERVING,
    "SNIFFER_SERVING_URL",
    "the served model, without a version",
    example="http://host:8501/v1/models/drug_detector",
)
SERVING_PATIENCE_S = seconds(
    _SERVING, "SNIFFER_SERVING_PATIENCE_S", 180.0, 0, "how long a model server that does not answer is retried"
)
SERVING_CONNECT_TIMEOUT_S = seconds(
    _SERVING, "SNIFFER_SERVING_CONNECT_TIMEOUT_S", 3.0, 0.1, "limit on opening a connection to the model server"
)
SERVING_READ_TIMEOUT_S = seconds(
    _SERVING, "SNIFFER_SERVING_READ_TIMEOUT_S", 60.0, 0.1, "limit on one answer of the model server"
)

MAX_IMAGE_BYTES = integer(
    _IMAGES, "SNIFFER_MAX_IMAGE_BYTES", 64 * MIB, 1, "larger objects are not fetched: they end as unreadable", "bytes"
)
MAX_IMAGE_PIXELS = integer(
    _IMAGES,
    "SNIFFER_MAX_IMAGE_PIXELS",
    64 * 1024 * 1024,
    1,
    "larger images are not decoded: they end as unreadable",
    "pixels",
)
DECODE_CPU_S = seconds(
    _IMAGES, "SNIFFER_DECODE_CPU_S", 3.0, 0.1, "CPU time for one image: what takes more ends as unreadable"
)
DECODE_MEMORY_BYTES = integer(
    _IMAGES,
    "SNIFFER_DECODE_MEMORY_BYTES",
    1024 * MIB,
    64 * MIB,
    "memory for one image: what takes more ends as unreadable",
    "bytes",
)

AWS = text(
    _S3,
    "AWS_*",
    "address and credentials of S3, as every AWS client reads them",
    example="AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL",
)
FETCH_THREADS = integer(_S3, "SNIFFER_FETCH_THREADS", 8, 1, "objects read at the same time")
FETCH_PATIENCE_S = seconds(_S3, "SNIFFER_FETCH_PATIENCE_S", 120.0, 0, "how long an S3 that fails is retried")

REQUESTER_PAYS = Setting(
    _S3,
    "SNIFFER_REQUESTER_PAYS",
    False,
    "whether we pay for requests to buckets whose readers pay (yes or no)",
    yes_or_no,
)

AWS_ENVIRONMENT = ("AWS_*", "SNIFFER_ASSUME_ROLE", "SNIFFER_ASSUME_ROLE_EXTERNAL_ID")
S3_ENVIRONMENT = (*AWS_ENVIRONMENT, "SNIFFER_FETCH_PATIENCE_S", "SNIFFER_REQUESTER_PAYS")
"""What every program that asks S3 depends on."""

ASSUME_ROLE = text(
    _S3,
    "SNIFFER_ASSUME_ROLE",
    "role that is assumed for S3, with whatever AWS credentials there are",
    example="arn:aws:iam::123456789012:role/reads-images",
)
ASSUME_ROLE_EXTERNAL_ID = text(
    _S3, "SNIFFER_ASSUME_ROLE_EXTERNAL_ID", "external id that the role asks for", example="team-4711"
)

MAX_BATCH_SIZE = 1024
BATCH_SIZE = Setting(
    _FLEET,
    "SNIFFER_BATCH_SIZE",
    32,
    "images in one request and one transaction",
    int,
    minimum=1,
    maximum=MAX_BATCH_SIZE,
)
CONSUMERS = Setting(
    _FLEET,
    "SNIFFER_CONSUMERS",
    0,
    "consumers of a scan unless --consumers says so",
    int,
    minimum=1,
    shown="cores + 1",
)
ERROR_BUDGET = share(
    _FLEET,
    "SNIFFER_ERROR_BUDGET",
    0.01,
    "share of the listed images that may fail: above it a certificate does not hold",
)
GONE_BUDGET = share(
    _FLEET,
    "SNIFFER_GONE_BUDGET",
    0.2,
    "share that may be gone: above it, from 5 images on, a certificate does not hold",
)
GONE_WARNING = share(_FLEET, "SNIFFER_GONE_WARNING", 0.05, "share of gone images above which a certificate warns")
UNREADABLE_BUDGET = share(
    _FLEET,
    "SNIFFER_UNREADABLE_BUDGET",
    0.2,
    "share that may be unreadable: above it, from 5 images on, a certificate does not hold",
)
UNREADABLE_WARNING = share(
    _FLEET, "SNIFFER_UNREADABLE_WARNING", 0.05, "share of unreadable images above which a certificate warns"
)
HELD_BYTES = integer(
    _FLEET,
    "SNIFFER_HELD_BYTES",
    32 * MIB,
    1,
    "encoded images that one consumer may hold, and that the producer keeps ready",
    "bytes",
)
MAX_RESTARTS = integer(_FLEET, "SNIFFER_MAX_RESTARTS", 10, 0, "crashed consumers that one scan starts again")
BEAT_S = seconds(_FLEET, "SNIFFER_BEAT_S", 2.0, 0.05, "time between two heartbeats")
CONSUMER_DEADLINE_S = seconds(
    _FLEET, "SNIFFER_CONSUMER_DEADLINE_S", 20.0, 0.1, "a consumer that is silent for longer is taken for dead"
)
PRODUCER_DEADLINE_S = seconds(
    _FLEET, "SNIFFER_PRODUCER_DEADLINE_S", 30.0, 0.1, "a producer that is silent for longer is given up"
)
NO_CONSUMER_S = seconds(
    _FLEET, "SNIFFER_NO_CONSUMER_S", 60.0, 0.1, "how long a producer waits for a consumer, and a consumer for it"
)
NO_PROGRESS_S = seconds(
    _FLEET, "SNIFFER_NO_PROGRESS_S", 600.0, 0.1, "a scan in which nothing moves for longer is stopped"
)
LEASE_S = seconds(
    _FLEET, "SNIFFER_LEASE_S", 30.0, 0.5, "how long the scan of a producer that was killed waits to be run again"
)
WORK_LIMIT_S = seconds(_FLEET, "SNIFFER_WORK_LIMIT_S", 480.0, 1, "a consumer whose batch takes longer ends itself")

CURVE_PUBLIC_FILE = text(_CURVE, "SNIFFER_CURVE_PUBLIC_FILE", "file of our public CURVE key, 40 characters of Z85")
CURVE_SECRET_FILE = text(_CURVE, "SNIFFER_CURVE_SECRET_FILE", "file of our secret CURVE key")
CURVE_SERVER_FILE = text(_CURVE, "SNIFFER_CURVE_SERVER_FILE", "file of the producer's public CURVE key")
CURVE_CLIENTS_FILE = text(
    _CURVE, "SNIFFER_CURVE_CLIENTS_FILE", "the producer's file of the public keys of its consumers, one a line"
)

ROLLOUT_TARGET = text(
    _ROLLOUT,
    "SNIFFER_ROLLOUT_TARGET",
    "the model servers that a rollout changes",
    example="kubernetes:sniffer/tf-serving, or local:DIR",
)
MODEL_BASE_PATH = text(
    _ROLLOUT, "SNIFFER_MODEL_BASE_PATH", "where versions are published", example="s3://bucket/prefix, or a folder"
)
SERVING_REPLICAS = text(
    _ROLLOUT,
    "SNIFFER_SERVING_REPLICAS",
    "base URLs of a local target's servers, separated by commas",
    shown="the host of SNIFFER_SERVING_URL",
)
ROLLOUT_PATIENCE_S = seconds(
    _ROLLOUT, "SNIFFER_ROLLOUT_PATIENCE_S", 120.0, 0, "how long a Kubernetes API that does not answer is retried"
)
ROLLOUT_LOAD_LIMIT_S = seconds(
    _ROLLOUT, "SNIFFER_ROLLOUT_LOAD_LIMIT_S", 900.0, 1, "limit on the time until every server serves a version"
)
ROLLOUT_LABEL_LIMIT_S = seconds(
    _ROLLOUT, "SNIFFER_ROLLOUT_LABEL_LIMIT_S", 180.0, 1, "limit on the time until every server knows a label"
)
ROLLOUT_STALE_S = seconds(
    _ROLLOUT, "SNIFFER_ROLLOUT_STALE_S", 120.0, 0, "how long a server may still show the failure of an earlier try"
)
ROLLOUT_PROBLEM_S = seconds(
    _ROLLOUT, "SNIFFER_ROLLOUT_PROBLEM_S", 600.0, 0, "how long pods may lack a node, fail to pull their image or crash"
)
ROLLOUT_POLL_S = seconds(_ROLLOUT, "SNIFFER_ROLLOUT_POLL_S", 1.0, 0.05, "how often the servers are asked")
KUBECONFIG = text(
    _ROLLOUT, "KUBECONFIG", "file that says how to reach Kubernetes", shown="the pod's own account, else ~/.kube/config"
)

AIRFLOW_URL = text(
    _AIRFLOW,
    "SNIFFER_AIRFLOW_URL",
    "Airflow's address with a user's name and password, for `sniffer doctor`",
    example="http://user:password@host:8080",
    secret=True,
)
FOUR_EYES: Setting[bool | None] = Setting(
    _AIRFLOW,
    "SNIFFER_FOUR_EYES",
    None,
    "of Airflow's processes: whoever asked for a rollout cannot approve it, and what a person asked for is approved by "
    "another person before it becomes stable (yes or no)",
    yes_or_no,
    shown="yes where SNIFFER_RUN_IN is pods or SNIFFER_ROLLOUT_TARGET is in Kubernetes, else no",
)
APPROVE_AUTOMATIC: Setting[bool] = Setting(
    _AIRFLOW,
    "SNIFFER_APPROVE_AUTOMATIC",
    False,
    "of Airflow's processes: a rollout that an export started waits for an approval too (yes or no)",
    yes_or_no,
)


def _backfill_limit(name: str, what: str, parse: Callable[[str], Any]) -> Setting[Any]:
    meaning = (
        f"of Airflow's processes: {what} of a run of `backfill_bucket` that nobody has to approve, its allowed growth "
        "included; above it a person is asked, whatever its form says"
    )
    return Setting(_AIRFLOW, name, None, meaning, parse, minimum=0, shown="as the form says")


BACKFILL_IMAGES: Setting[int | None] = _backfill_limit("SNIFFER_BACKFILL_IMAGES", "the most new images", int)
BACKFILL_HOURS: Setting[float | None] = _backfill_limit("SNIFFER_BACKFILL_HOURS", "the most estimated hours", float)
BACKFILL_COST: Setting[float | None] = _backfill_limit(
    "SNIFFER_BACKFILL_COST", "the highest estimated cost, in the currency of the prices,", float
)
RESULT_OF = text(
    _AIRFLOW,
    "SNIFFER_RESULT_OF",
    "set by Airflow's tasks for their programs: the task that a result is made for, which goes into it as `result_of`",
)
RUN_IN = text(_AIRFLOW, "SNIFFER_RUN_IN", "of Airflow's processes: where programs run, processes or pods", "processes")
POD_TEMPLATES = text(
    _AIRFLOW,
    "SNIFFER_POD_TEMPLATES",
    "of Airflow's processes: folder laid out as k8s/, with the templates of pods in place of ours",
    example="/etc/sniffer/k8s",
)
SOURCES_FILE = text(
    _AIRFLOW,
    "SNIFFER_SOURCES_FILE",
    "of Airflow's processes: table of the buckets that are scanned each night, YAML or JSON",
    example="/etc/sniffer/sources.yaml",
)
SCAN_SPOT = text(
    _AIRFLOW, "SNIFFER_SCAN_SPOT", "of Airflow's processes: 1 lets pods of scans run on spot nodes, and prefers those"
)
TRAINER_GPU = text(_AIRFLOW, "SNIFFER_TRAINER_GPU", "of Airflow's processes: 1 lets training pods ask for a GPU")

REVIEW_URL = text(
    _REVIEW,
    "SNIFFER_REVIEW_URL",
    "the address at which people reach the review page, as a proxy before it has it",
    example="https://review.example.com",
    shown="the loopback address that it listens on",
)
REVIEW_PROXIES = text(
    _REVIEW,
    "SNIFFER_REVIEW_PROXIES",
    "addresses of proxies before the review page whose X-Forwarded-For is believed, separated by commas",
    shown="none",
)
REVIEW_LEASE_S = seconds(
    _REVIEW, "SNIFFER_REVIEW_LEASE_S", 180.0, 5, "how long an image stays with a reviewer whose page has been closed"
)
REVIEW_BREAK_AFTER = integer(
    _REVIEW,
    "SNIFFER_REVIEW_BREAK_AFTER",
    40,
    1,
    "images seen unblurred within an hour after which the review page suggests a break",
)
REVIEW_SECOND_SHARE: Setting[float] = Setting(
    _REVIEW,
    "SNIFFER_REVIEW_SECOND_SHARE",
    0.0,
    "share of the decided images that a second reviewer decides, too",
    float,
    minimum=0,
    maximum=1,
)
REVIEW_SECOND_SECRET = text(
    _REVIEW,
    "SNIFFER_REVIEW_SECOND_SECRET",
    "makes which images those are unforeseeable: any long random text, the same for all processes",
    secret=True,
)
REVIEW_WEBHOOK_SECRET = text(
    _REVIEW,
    "SNIFFER_REVIEW_WEBHOOK_SECRET",
    "shared with whoever sends decisions to the review page's /webhook, at least 32 random characters; without it "
    "there is no such address",
    secret=True,
)
REVIEW_COOP_KEY = text(
    _REVIEW,
    "SNIFFER_REVIEW_COOP_KEY",
    "Coop's webhook signature verification key, in PEM, for callbacks to /webhook/coop; without it there is no such "
    "address",
)
REVIEW_KEEP_TO = text(
    _REVIEW,
    "SNIFFER_REVIEW_KEEP_TO",
    "where the review page copies each image at the moment of its decision, s3://bucket/prefix; without it there are "
    "no copies",
    example="s3://my-kept-images/decided",
    shown="none",
)
REVIEW_OIDC_ISSUER = text(
    _REVIEW,
    "SNIFFER_REVIEW_OIDC_ISSUER",
    "OpenID Connect provider by which people sign in to the review page",
    example="https://login.example.com/realms/company",
)
REVIEW_OIDC_CLIENT_ID = text(_REVIEW, "SNIFFER_REVIEW_OIDC_CLIENT_ID", "as what the review page is known there")
REVIEW_OIDC_CLIENT_SECRET = text(
    _REVIEW, "SNIFFER_REVIEW_OIDC_CLIENT_SECRET", "by what it proves that there", secret=True
)
REVIEW_OIDC_NAME_CLAIM = text(
    _REVIEW, "SNIFFER_REVIEW_OIDC_NAME_CLAIM", "claim that becomes the account's name", "preferred_username"
)
REVIEW_OIDC_ROLE_CLAIM = text(
    _REVIEW, "SNIFFER_REVIEW_OIDC_ROLE_CLAIM", "claim that has a person's groups or roles", "groups"
)
REVIEW_OIDC_ROLES = text(
    _REVIEW,
    "SNIFFER_REVIEW_OIDC_ROLES",
    "which of them is which role of ours; who has none of them may not sign in, who has several is the first of lead, "
    "auditor, reviewer",
    "reviewer=reviewer,lead=lead,auditor=auditor",
)

SETTINGS: tuple[Setting[Any], ...] = tuple(value for value in globals().values() if isinstance(value, Setting))
