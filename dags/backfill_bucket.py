"""
### Scan a whole historical bucket

Scores every image of a bucket that has no result yet, in shards, as one run: you know what it costs before it starts,
see where it stands while it runs, and can stop it at any time.

#### When it runs

When you press *Trigger*. For single days of a bucket whose keys are dated, a backfill of `scan_bucket` does.

#### Steps

1. `plan` works out what is scanned; its log says it in words.
2. `cut` cuts the keys into shards, and keeps them in MySQL.
3. `estimate` lists all of them, several at once, and looks each object up. Its log and XCom say: objects, bytes, new
   images, duplicates, archived objects, S3 requests, hours, GPU hours, cost.
4. `approve` waits for a person under *Required Actions*, if the estimate is above one of the limits of the form, or if
   there are none. The team's limits (`SNIFFER_BACKFILL_IMAGES`, `_HOURS`, `_COST`) hold whatever the form says.
5. `shards` lists once more, without looking anything up. It refuses when the bucket has grown by more than the allowed
   share. Its XCom is what is left, in the order of the form.
6. `scan` runs `python -m sniffer.scan`, as a mapped task for each shard (*3 of 40*), within the hours of the form. Each
   counts what it lists, and refuses as well when the whole has grown too far.
7. `certify` reads the certificate of the whole. It must account for every listed object. Then an event of the Asset
   `scanned_images` is emitted.

#### What is exact, and what is estimated

Counts, bytes and requests are exact for the time of the listing. Hours go by the pace of an earlier scan by the same
model version; without one they are unknown, and above any limit. Duplicates are counted by ETag and size. Prices are
examples until the Variable `sniffer_rates` has yours:

    airflow variables set sniffer_rates '{"as_of": "2026-11-26",
        "currency": "USD", "gpu_hour": 0.55, "gpus": 4}'

#### What is approved

A plan with its estimate: both have a digest, kept in the table `estimates` with who approved it, when and why. The
shards ask there: marking `approve` as successful is no approval. With four eyes (`SNIFFER_FOUR_EYES`; in Kubernetes by
default) whoever started the run cannot approve it.

#### Night hours

With *Work from* and *Work until* a shard begins within these hours only. At their end it stops at a key, after the
images in hand: nothing is cut off, and the rest goes on the next night, which is no retry.

#### Pause, go on, stop

* **Pause** the DAG: shards that run end as they would, no other begins. *Unpause* goes on.
* **Stop**: mark the run as failed. What is scored stays. To go on, clear `shards` with everything after it.
* **A new run** of the same bucket finds all results there: each costs a look-up.

#### If something goes wrong

* **A shard failed**: clear it. It does what is left. To do all that is left, clear `shards` with everything after it.
* **The bucket has grown**: clear `estimate` with everything after it. The new estimate is approved anew. Airflow goes
  on showing the first question: the new figures are in the log of `estimate`, and whoever approves them names their
  digest (its first 16 characters) in the reason.
* **A shard is held** since its share of flagged images is none that the past makes likely: `decide_held` asks under
  *Required Actions*. Then clear `scan` with everything after it.
* **Archived objects** are `inaccessible` with the code `archived`, which is no failure. For a list to restore:

        sniffer archived --bucket BUCKET --manifest restore.csv

#### Set it up

Connections as for `scan_bucket`; `sniffer_mysql_decide` where the user of `mysql_default` may only read. The pool
`sniffer_backfill` says how many shards run at a time, over all runs.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, XComArg, chain

from sniffer_airflow.alerts.callbacks import tell_of_failure
from sniffer_airflow.backfill.approval import approval_operator
from sniffer_airflow.backfill.form import backfill_params
from sniffer_airflow.backfill.tasks import cut, estimate, plan, scan, shards
from sniffer_airflow.names import ALL_BUT_BACKFILL, BACKFILL_DAG, TASK_DEFAULTS
from sniffer_airflow.scan.held import decide_held
from sniffer_airflow.scan.tasks import certify

with DAG(
    BACKFILL_DAG,
    schedule=None,
    start_date=datetime(2006, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=8,
    allowed_run_types=ALL_BUT_BACKFILL,
    default_args=TASK_DEFAULTS,
    on_failure_callback=tell_of_failure,
    params=backfill_params(),
    description="Scan a whole historical bucket: estimate, approval, shards within the hours you choose. When you "
    "trigger it.",
    tags=["sniffer", "scan"],
    doc_md=__doc__,
):
    before = [plan(), cut(), estimate(), approval_operator()]
    left = shards()
    scans = scan(XComArg(left))
    chain(*before, left)
    scans >> certify()
    # Beside `certify`, which stays a last task: it is what makes the run of a scan that failed a failed one.
    scans >> decide_held()
