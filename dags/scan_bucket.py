"""
### Scan a bucket for images of illegal drugs

Scores every new image of an S3 bucket with the classifier in TensorFlow Serving and stores the results in MySQL.

#### When it runs

* Every night at 00:00 UTC, for the day that has just ended.
* When you press *Trigger*, for what the form says.
* As a backfill, once for each day.

#### Steps

1. `plan` works out exactly what is scanned; its log says it in words, with both ends of the time window.
2. `shards` cuts the keys into ranges, one for about a million keys, and keeps them in MySQL; a smaller bucket is
   one. Its XCom is what is left to scan.
3. `scan` runs the program `python -m sniffer.scan`, one producer and its consumers, as a mapped task for each shard
   (*3 of 40*). In a backfill the task is `scan_backfill`, so that no night waits for one; the other of the two is
   skipped.
4. `certify` reads the certificate from MySQL. It must account for every listed object, and the failures must stay
   within the error budget. Then an event of the Asset `scanned_images` is emitted, with the counts as `extra`.

#### Which part of the bucket

* **Nightly run or backfill, prefix without a date**: objects last modified on the day of the run (UTC).
* **Nightly run or backfill, prefix with a date** such as `uploads/{{ ds }}/`: everything under that day's prefix.
* **Manual run**: everything under the prefix, whenever it was modified. `{{ ds }}` is the logical date or, if there is
  none, the day you triggered the run.

*Modified since* and *Modified before* replace the time window in every kind of run. A window's end does not belong to
it. Days are days of UTC.

**A nightly run looks back two days**, for what came late: S3 dates an upload by its start, so one that went on over
midnight belongs to a day whose scan is over. With a time window that costs no further listing, with a dated prefix one
more for each day; what has a result already costs a look-up. The certificate counts what no scan had seen before as
`late`. *Days to look back* in the form, or `look_back_days` in `sniffer_scan`, changes it; 0 is none.

Placeholders of the prefix: `{{ ds }}` (2026-11-05), `{{ ds_nodash }}` (20261105), `{{ year }}`, `{{ month }}`,
`{{ day }}`.

#### Set it up

The nightly target, once:

    airflow variables set sniffer_bucket my-images
    airflow variables set sniffer_prefix 'uploads/{{ ds }}/'  # optional
    airflow variables set sniffer_scan '{"exclude": [".html"]}'  # optional

If you enter a bucket in the form, only what the form says is used with it (prefix empty: the whole bucket).

Nothing listed under the prefix fails the run, since it is more often misspelt. If days without uploads are ordinary,
allow it: in the form, or by `"allow_empty": true` in `sniffer_scan`. A time window in which nothing was modified is
always fine.

Connections:

* `mysql_default`: login, password, host, schema.
* `sniffer_mysql_decide`: the same with a user that may decide about held scans, where that of `mysql_default` may not.
* `sniffer_serving`: type `http`, host and port of the model server.
* `aws_default`: access key and secret key; extra `region_name`, `endpoint_url`, `aws_session_token`. Leave it out if
  the worker has AWS credentials of its own.

Everything else is set by `SNIFFER_*` environment variables of the worker.

#### While it runs

The log of `scan` has a line every 10 seconds: listed, done, images/s, and what goes on (*starting*, *still listing*,
how many seconds are left, *stalled* if nothing has moved for a minute). The tab *Task State Store* of the task
shows the same figures under `progress`. At most two scans or shards run at a time, and two of a backfill; others wait.
A shard that has gone on for two hours ends at a key and starts again for the rest: that is no retry.

#### If something goes wrong

* **A scan is held** since its share of flagged images is none that the last scans make likely: what it flagged is not
  seen, and no retry changes that. The task `decide_held` asks under *Required Actions*: *Release* (it is right) or
  *Discard* (the model or its server was broken, and is repaired). Then clear the task `scan` with everything after it.
  *Flagged share* in the form, or `flood_band` in `sniffer_scan`, sets bounds of your own.
* **What the problem means**: the exception of the failed task is the program's last error, in one line. The page
  `docs/troubleshooting.md` explains each. Its warnings are in the log; filter by level.
* **The run failed or was stopped**: clear the task `scan`. The scan's id belongs to the run and its target, so the
  next attempt only does what is left. Two automatic retries do the same, after about 2 and 10 minutes. Wrong settings
  (exit status 2) fail at once; the reason is at the end of the log. A shard is retried and cleared alone; to do all
  that is left, clear `shards`.
* **Some images failed**: trigger a run with *Retry failed*, or wait for the next scan of that prefix.
* **Images must be scored again**: trigger a run with *Rescan*. Clearing a finished rescan repeats nothing.
* **You need to know how long it takes**: trigger a *Dry run*. The estimate is in the log, and the XCom, of `scan`.
  It goes by the pace of an earlier scan, so there is none before the first.
* **Objects arrived later than the nights look back**: a manual run without a time window finds them. Images that are
  known already cost only a look-up.

#### Backfill

One run for each day, both ends included:

    airflow backfill create --dag-id scan_bucket \\
        --from-date 2026-11-01 --to-date 2026-11-07

For another bucket, add:

        --dag-run-conf '{"bucket": "s3://archive/{{ ds }}/"}'

* **Every backfill has runs of its own**, whatever other runs there are for a day: of another bucket, of a night, of an
  earlier backfill. So `--reprocess-behavior` changes nothing, and no night is replaced. To tell the runs apart, a run's
  logical date is its day at the time of day at which the backfill was made.
* **After a cancel, or with failed days: the same command again.** It has new runs for all the days. What has a result
  costs a look-up, so only the rest is scored. Airflow allows one backfill of a DAG at a time.
* Enter dates, without times: they are taken as typed, whatever zone the UI shows, and mean days of UTC. A day that is
  not over yet is left to its night.
* `--dry-run` lists the days, `--max-active-runs N` bounds the runs at a time, `--run-backwards` starts with the newest
  day.
* **A bucket without dates in its keys** is listed as a whole for each day. One manual run with *Modified since* and
  *Modified before* scans all those days with one listing.

#### Safe to repeat

There is one row per object version (bucket, key, ETag, size, last modified) and model version, so running anything
twice changes nothing. A scan deletes nothing. Results are kept per model version: to go back to those of an earlier
model, make it stable again with `rollout_serving`.
"""

from __future__ import annotations

from sniffer_airflow.names import SCAN_DAG
from sniffer_airflow.scan.form import scan_params
from sniffer_airflow.scan.graph import scan_dag
from sniffer_airflow.scan.timetable import NightsAndBackfills

scan_dag(
    SCAN_DAG,
    schedule=NightsAndBackfills(),
    params=scan_params(),
    description="Scan the new images of an S3 bucket for illegal drugs. Every night at 00:00 UTC for the day that has "
    "ended; by hand and as a backfill, too.",
    doc_md=__doc__,
)
