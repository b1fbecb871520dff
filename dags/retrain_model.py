"""
### Retrain the classifier

Trains a candidate on the labelled images and lets it pass only if it is better than the stable model. Runs every
Monday, whenever `watch_labels` has found enough new labels, and by the *Trigger* button.

`plan` (every default filled in) → `snapshot` (labelled images → manifest with splits) → `train` (head on cached
features) → `evaluate` (figures, calibration, threshold, report) → `gate` (against the stable model, on the same
held-out images) → `bless` (an event of the Asset `blessed_model`, which starts `export_model`).

#### How a run ends

| the run | what it means |
|---|---|
| success, `bless` green | the candidate is better; `export_model` publishes it under the reserved version |
| success, `bless` skipped | the gate rejected it, **the stable model stays** |
| failed | a step did not end; nothing was published |

The reasons of a rejection are in the log of `bless`, in the XCom of `gate`, and in the column `models.verdict`.
The button *Report* on `gate` opens the figures, the curves and the worst mistakes.

#### Settings

| Variable | what |
|---|---|
| `sniffer_training_dir` | folder of workdirs, features and the last snapshot, which all workers see |
| `sniffer_model_base` | where versions are published: `s3://bucket/drug_detector` or a folder |
| `sniffer_retraining` | JSON of what the form may leave empty: at least `source`, and any other field of the form |

Connections: `mysql_default`, and `aws_default` as for the scan.

#### Resume, retry, override

* **A step failed or was stopped**: *Clear task*. The workdir belongs to the DAG run: training goes on from its last
  epoch, features that are cached are not computed again. Exit status 2 (wrong settings or data) fails at once.
* **The labels have changed since the snapshot**: a snapshot never changes; trigger a new run.
* **Take a rejected candidate all the same**: trigger a run with *Override by* and *Override reason*. Both are recorded
  in the verdict, beside the reasons for the rejection. The snapshot is taken anew; of the same data it is the same.
* **Disk**: a workdir holds about 100 MB. Those of runs that nobody exports any more may be deleted; `lineage.json`
  must stay, and `features/` saves hours.

#### Roll-back

A retraining changes nothing in production. What is rolled out, and back, is up to `rollout_serving`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, chain, dag

from sniffer_airflow.names import LABELLED_IMAGES, TASK_DEFAULTS
from sniffer_airflow.training.form import retrain_params
from sniffer_airflow.training.tasks import bless, plan_of_training, training_program


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 4 * * 1", timezone="UTC", run_immediately=timedelta(0)),
        assets=[LABELLED_IMAGES],
    ),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params=retrain_params(),
    tags=["sniffer", "training"],
    doc_md=__doc__,
)
def retrain_model() -> None:
    """Train a candidate; let it pass if it is better than the stable model."""
    steps = [training_program(step, mysql=step == "gate") for step in ("snapshot", "train", "evaluate", "gate")]
    chain(plan_of_training(), *steps, bless())


retrain_model()
