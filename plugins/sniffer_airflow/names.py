"""Names that DAGs, operators and pages share: Connections, Variables, Assets, and what a DAG run names."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from pathlib import PurePath
from typing import Any
from urllib.parse import quote, urlsplit

from airflow.sdk import Asset, conf
from airflow.sdk.api.datamodels._generated import DagRunType

AWS_CONNECTION = "aws_default"
MYSQL_CONNECTION = "mysql_default"
MYSQL_CONNECTIONS = {
    "sniffer": "sniffer_mysql_scan",
    "sniffer_model": "sniffer_mysql_trainer",
    "sniffer_rollout": "sniffer_mysql_rollout",
    "decide": "sniffer_mysql_decide",
}
"""Connections of the programs of each package, and of who decides about held scans; else MYSQL_CONNECTION.

By the roles of `sniffer migrate --grants`."""
SERVING_CONNECTION = "sniffer_serving"
SMTP_CONNECTION = "smtp_default"

BUCKET_VARIABLE = "sniffer_bucket"
PREFIX_VARIABLE = "sniffer_prefix"
SCAN_VARIABLE = "sniffer_scan"
SOURCES_VARIABLE = "sniffer_sources"
ALERTS_VARIABLE = "sniffer_alerts"
TRAINING_DIR_VARIABLE = "sniffer_training_dir"
MODEL_BASE_VARIABLE = "sniffer_model_base"
RETRAINING_VARIABLE = "sniffer_retraining"
RATES_VARIABLE = "sniffer_rates"
RECALL_VARIABLE = "sniffer_recall"

RETRAIN_DAG, EXPORT_DAG, ROLLOUT_DAG, SCAN_DAG = "retrain_model", "export_model", "rollout_serving", "scan_bucket"
WATCH_DAG, SUMMARY_DAG, PUBLISH_DAG = "watch_labels", "scan_summary", "publish_labels"
BACKFILL_DAG = "backfill_bucket"
RECALL_DAG = "measure_recall"

APPROVAL_LIMIT = timedelta(hours=12)
"""How long `rollout_serving` waits for an approval."""

HOLD_LIMIT = timedelta(days=3)
"""How long a run of a scan's DAG waits for a decision about what is held. After it the scan stays held."""

COST_APPROVAL_LIMIT = timedelta(days=7)
"""How long `backfill_bucket` waits for an approval."""

SCANNED_IMAGES = Asset(name="scanned_images")
"""A scan whose certificate holds; an event's `extra` carries the scan's id, what was asked, and its counts."""

PUBLISHED_LABELS = Asset(name="published_labels")
"""What reviewers have decided is another table of labels than before; `extra` carries where it is, and its counts."""

LABELLED_IMAGES = Asset(name="labelled_images")
"""Enough new labelled images have come in for a retraining; `extra` carries how many, and their source."""

BLESSED_MODEL = Asset(name="blessed_model")
"""A trained model that the gate lets pass; `extra` carries its workdir, digests, figures, and the reserved version."""

SAVEDMODEL = Asset(name="savedmodel")
"""A model version that is exported, published and registered; `extra` carries version, digest and path."""

SERVING_MODEL = Asset(name="serving_model")
"""Another model version has become stable; `extra` carries it, the one before it, and what made it so."""

TASK_DEFAULTS = {
    "owner": "trust-and-safety",
    "retries": 2,
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": 5,  # the factor from one pause to the next
}
"""What every task of every DAG is like."""

ALL_BUT_BACKFILL = frozenset(DagRunType) - {DagRunType.BACKFILL}
"""How runs of DAGs may begin whose model may become stable. A backfill can take over a run of the schedule with another
form, and Airflow goes on to say that nobody asked for it."""

PAGES_PREFIX = "/sniffer"
"""Under which the API server has our pages."""
CHANGES_PICTURE = "changes.svg"
CHANGED_IMAGES = "changed-images"
NOT_KEPT = (
    "the gate kept none of this version. It was judged before sniffer-bot kept them, or without a stable version. To "
    "see them, judge it again: `sniffer model evaluate` and `sniffer model gate` with its workdir, or start a new "
    "training."
)
"""Why there are no pictures of test images that are decided differently, and the way to them."""
RUN_REPORT_PAGE = "run-report/"
RUN_COUNTS_PAGE = "run-counts/"
OVERVIEW_PAGE = "overview/"

_RUN_NAME_CHARS = 120
_DAG_RUN_CHARS = 255


def name_of_run(dag_id: str, run_id: str) -> str:
    """Names what a DAG run works on: the same for every retry and clear, so that they resume it.

    Fit for a folder.
    """
    return shortened(f"{dag_id}.{run_id}")


def shortened(full: str) -> str:
    """The name, fit for a scan's id (SCAN_ID_PATTERN) and for a folder; what had to be changed ends in a digest."""
    plain = re.sub(r"[^A-Za-z0-9._:+-]", "-", full)
    if plain == full and len(full) <= _RUN_NAME_CHARS:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:12]
    return f"{plain[: _RUN_NAME_CHARS - len(digest) - 1]}-{digest}"


def source_dag(name: str) -> str:
    """The DAG that scans the source with that name."""
    return f"scan_{name}"


def is_scan(dag_id: str) -> bool:
    """Whether the DAG scans a bucket: `scan_bucket`, and that of each source."""
    return dag_id.startswith(source_dag("")) and dag_id != SUMMARY_DAG


def form_of(dag_id: str) -> str:
    """The DAG's form, as messages name it."""
    return f"the form of {dag_id}"


def workdir_of(training_dir: str, run_name: str) -> str:
    """The workdir of a training run."""
    return str(PurePath(training_dir, "runs", run_name))


def report_url(version: int) -> str:
    """Where the UI shows the report of a model version."""
    return f"{_base_url()}{PAGES_PREFIX}/reports/{version}/"


def report_label(version: int, *, warnings: int = 0, is_overridden: bool = False) -> str:
    """The text of a link to that report: what the gate's `blessed` alone does not tell apart."""
    remarks = [f"version {version}"]
    if is_overridden:
        remarks.append("rejected by the gate and accepted by a person")
    if warnings:
        remarks.append(f"with {warnings} warning{'' if warnings == 1 else 's'} of the gate")
    return ", ".join(remarks)


def run_url(dag_id: str, run_id: str) -> str:
    """Where the UI shows that run."""
    return f"{_base_url()}/dags/{dag_id}/runs/{quote(run_id)}"


def page_path(name: str) -> str:
    """Where the UI has that page of ours, without host: for links and pictures inside the UI."""
    return f"{urlsplit(_base_url()).path}{PAGES_PREFIX}/{name}"


def _base_url() -> str:
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


def type_of_run(dag_run: Any) -> str:
    """What kind of run it is, such as `scheduled`: Airflow hands a task an enum whose `str` is another text."""
    return str(getattr(dag_run.run_type, "value", dag_run.run_type))


def dag_run_text(dag_id: str, run_id: str) -> str:
    """The DAG run as the `scans` table records it, for people; cut to the column's width."""
    return f"{dag_id}/{run_id}"[:_DAG_RUN_CHARS]
