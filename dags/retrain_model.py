"""
### Retrain the classifier

Trains a candidate on the labelled images and accepts it only if it is better than the stable model. A retraining alone
changes nothing in production.

#### When it runs

* Every Monday at 04:00 UTC.
* When `watch_labels` has found enough new labels.
* When you press *Trigger*.

#### Steps

1. `plan` fills in all defaults.
2. `snapshot` writes the manifest of the labelled images, with their splits.
3. `train` trains the head on cached features.
4. `evaluate` computes figures, calibration and threshold, and writes the report.
5. `gate` compares the candidate with the stable model on the same held-out images.
6. `bless` emits an event of the Asset `blessed_model`, which starts `export_model`.

#### How a run ends

* **Success, `bless` green**: the candidate is better. `export_model` publishes it.
* **Success, `bless` skipped**: the gate rejected the candidate; **the stable model stays**.
* **Failed**: a step did not finish. Nothing was published.

The tab *Model report* of the run shows the verdict with its reasons, the comparison with the stable model, the curves
and the worst mistakes. The button on `gate`, which opens the same page, says in short: *Report: accepted*, *accepted,
with warnings*, *rejected*, or *rejected by the gate, accepted by a person*. The reasons are in the log of `bless`, too.

#### Set it up

* Variable `sniffer_training_dir`: a folder for workdirs, cached features and the last snapshot. All workers must see
  it.
* Variable `sniffer_model_base`: where versions are published, `s3://bucket/drug_detector` or a folder.
* Variable `sniffer_retraining`: JSON with the values for fields of the form that are left empty; at least `source`.
* Connections `mysql_default` and `aws_default`, as for `scan_bucket`.

#### If something goes wrong

* **A step failed or was stopped**: clear it. The workdir belongs to the run: training continues after the last
  finished epoch, and cached features are reused. Exit status 2 (wrong settings or data) fails at once.
* **The labels have changed since the snapshot**: trigger a new run; a snapshot never changes.
* **You want a rejected candidate anyway**: trigger a run and give the reason under *Accept a rejected model*. It is
  recorded with the verdict, under the name by which you are logged in.
* **The disk is full**: a workdir takes about 100 MB. Delete workdirs of runs that nobody will export. Keep
  `lineage.json`; `features/` saves hours.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, chain, dag

from sniffer_airflow.alerts.callbacks import tell_of_failure
from sniffer_airflow.names import ALL_BUT_BACKFILL, LABELLED_IMAGES, TASK_DEFAULTS
from sniffer_airflow.training.form import retrain_params
from sniffer_airflow.training.tasks import bless, plan_of_training, training_program


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 4 * * 1", timezone="UTC", run_immediately=timedelta(0)),
        assets=[LABELLED_IMAGES],
    ),
    catchup=False,
    allowed_run_types=ALL_BUT_BACKFILL,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    on_failure_callback=tell_of_failure,
    params=retrain_params(),
    description="Train a candidate model and accept it if it is better than the stable one. Every Monday at 04:00 "
    "UTC, and when enough new labels have arrived.",
    tags=["sniffer", "training"],
    doc_md=__doc__,
)
def retrain_model() -> None:
    """Train a candidate; let it pass if it is better than the stable model."""
    steps = [training_program(step, mysql=step == "gate") for step in ("snapshot", "train", "evaluate", "gate")]
    chain(plan_of_training(), *steps, bless())


retrain_model()
