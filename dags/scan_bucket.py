"""
### Scan a bucket for illegal-drug images

Scores every new image of an S3 bucket with the classifier in TensorFlow Serving and stores the result in MySQL.
Runs every night for the day that has just ended, by the *Trigger* button, and as a backfill.

`plan` (what exactly is scanned) → `scan` (`python -m sniffer.scan`: a producer and its consumers) → `certify` (the
certificate in MySQL: every listed object has exactly one outcome, failures are within the error budget; then an event
of the Asset `scanned_images` with the counts as `extra`).

#### Which part of the bucket

| run | window | `{{ ds }}` in the prefix |
|---|---|---|
| nightly, backfill; prefix without a date | objects last modified on the run's day (UTC) | – |
| nightly, backfill; prefix with a date, `uploads/{{ ds }}/` | none: the prefix selects the day | the run's day |
| manual | none, unless *since* or *until* is given | the logical date; without one, the day it was triggered |

Placeholders: `{{ ds }}` (2026-11-05), `{{ ds_nodash }}` (20261105), `{{ year }}`, `{{ month }}`, `{{ day }}`.
*since* and *until*, when given, replace the window in every run. The target of the nightly run is set once, by
Variables:

    airflow variables set sniffer_bucket my-bucket
    airflow variables set sniffer_prefix 'uploads/{{ ds }}/'      # optional

A bucket typed in the form goes with the prefix typed in the form alone (empty: the whole bucket).

#### Needs

Connections `mysql_default` (login, password, host, schema), `sniffer_serving` (type http, host, port of the model
server) and, unless the worker has AWS credentials of its own, `aws_default` (access key, secret key; extra:
`region_name`, `endpoint_url`, `aws_session_token`). Other settings are `SNIFFER_*` variables of the worker.

#### While it runs

The log of `scan` has a line every 10 s: listed, done, images/s, time left. The same figures are in its tab *Task
State Store*, key `progress`. At most two scans run at a time, whatever the number of runs; the others wait.

#### Resume, retry, repeat

* **It failed, or was stopped** (marked failed, worker lost, time-out): *Clear task* on `scan`. The scan id belongs to
  the DAG run, so a new try does only what is left. Two automatic retries, after about 2 and 10 minutes, do the same;
  but wrong settings (exit status 2) fail at once, with the reason at the end of the log.
* **Some images have the outcome `failed`**: trigger with *Retry failed*, or wait: the next scan of that part tries
  them.
* **Score again what is known**: a new run with *Rescan* (clearing a finished rescan repeats nothing).
* **How long will it take?** A run with *Dry run* changes nothing; the estimate is the XCom of `scan`.
* **It came late**: an object that entered a day after its scan (a slow upload keeps the time it was begun) is found by
  a manual run without window, which costs a listing and look-ups for what is known.

#### Backfill

One run a day, both ends included; each scans its own day, as partition or as window:

    airflow backfill create --dag-id scan_bucket --from-date 2026-11-01 --to-date 2026-11-07

Of another bucket:

    airflow backfill create --dag-id scan_bucket --from-date 2026-11-01 --to-date 2026-11-07 \\
        --dag-run-conf '{"bucket": "archive", "prefix": "uploads/{{ ds }}/"}'

Days that already have a run are left out; `--reprocess-behavior failed` or `completed` clears their runs in place
(they keep their scan id, so the bucket must stay the same). `--dry-run` lists the days, `--max-active-runs N` bounds
the runs, `--run-backwards` begins with the newest day.

#### Idempotence and roll-back

A result is one row per object version (bucket, key, ETag) and model version, written by an upsert: running anything
twice, or two scans of one bucket at a time, changes nothing but the time it takes. A scan deletes nothing. Results are
kept per model version: to go back to those of a former model, make that version stable again.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import CronDataIntervalTimetable, dag

from sniffer_airflow.names import TASK_DEFAULTS
from sniffer_airflow.scan.form import scan_params
from sniffer_airflow.scan.tasks import certify, plan, scan


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    # Before S3 itself, so that any day can be backfilled; without catch-up it starts nothing.
    start_date=datetime(2006, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=8,
    default_args=TASK_DEFAULTS,
    params=scan_params(),
    tags=["sniffer", "scan"],
    doc_md=__doc__,
)
def scan_bucket() -> None:
    """Score the new images of a bucket; prove that each is accounted for."""
    plan() >> scan() >> certify()


scan_bucket()
