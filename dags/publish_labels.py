"""
### Publish what reviewers have decided

Writes the decisions of the review page, and those that came back from other programs, as the table of labels that
`retrain_model` reads. It reads the database and replaces one file; it changes no decision and no image.

#### When it runs

Every day at 03:00 UTC, before `watch_labels`, or when you press *Trigger*.

#### Steps

1. `plan` works out which table is written.
2. `publish` runs the program `sniffer labels publish`.
3. `announce_published` emits an event of the Asset `published_labels`, which starts `watch_labels`. If the table is the
   same as before, or has no label yet, it is *skipped*.

#### Which label an image gets

* What all its reviewers say. Where they disagree, or are not sure, it is left out until a lead settles it.
* The newest of a lead's decisions comes before all others. So an appeal that reverses a decision is in the next table.
* The same bytes have one label, under whatever keys. If they were decided both ways, they are left out; the log of
  `announce_published` names the decisions.
* An object that was replaced is left out: nobody can get the bytes that were decided any more.

#### Set it up

* Variable `sniffer_retraining`: JSON. `review_labels` is the table that is replaced, and `source` is what
  `retrain_model` reads: the same table or, with labels of your own beside it, the folder of both.

Example:

    airflow variables set sniffer_retraining \\
        '{"source": "s3://labels/2026/part-*",
          "review_labels": "s3://labels/2026/part-review.csv"}'

* Connections `sniffer_mysql_scan` (or `mysql_default`) and `aws_default`, which may write there.

#### If something goes wrong

Nothing has to be repaired: the table is replaced as a whole or not at all, and the next run writes it from all
decisions. Exit status 2 means that a Variable, a Connection or a right is wrong, or that no decision counts though the
table has labels, as with a database that was set up anew; the end of the log names it.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag

from sniffer_airflow.alerts.callbacks import tell_of_failure
from sniffer_airflow.names import ALL_BUT_BACKFILL, TASK_DEFAULTS
from sniffer_airflow.training.form import publish_params
from sniffer_airflow.training.published import announce_published, plan_of_publishing, publish_program


@dag(
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    allowed_run_types=ALL_BUT_BACKFILL,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    on_failure_callback=tell_of_failure,
    params=publish_params(),
    description="Write what reviewers have decided as the table of labels that a retraining reads. Every day at 03:00 "
    "UTC.",
    tags=["sniffer", "review", "training"],
    doc_md=__doc__,
)
def publish_labels() -> None:
    """Write the table of labels, and say so when it has changed."""
    plan_of_publishing() >> publish_program() >> announce_published()


publish_labels()
