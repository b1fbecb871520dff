"""
### Watch for new labelled images

Counts the labelled images that are newer than the last snapshot of `retrain_model`. If there are enough, an event of
the Asset `labelled_images` starts a retraining. It only lists the images and changes nothing.

#### When it runs

Every day at 03:30 UTC, when `publish_labels` has written other labels than before, or when you press *Trigger*.

#### Steps

1. `plan` works out what is counted.
2. `count_labels` runs the program `python -m sniffer_model.data.count_labels`.
3. `announce_labels` emits the event. If too few images are new, it is *skipped*, and its log gives the numbers. The
   retraining takes the source that was watched, also when the Variable has changed since.

#### Set it up

* Variable `sniffer_training_dir`: the folder with the last snapshot.
* Variable `sniffer_retraining`: JSON. `source` is where the labelled images are; `new_labels` (default 500) is how many
  new ones are enough.

Example:

    airflow variables set sniffer_retraining \\
        '{"source": "s3://labels/2026", "new_labels": 1000}'

#### If something goes wrong

Nothing has to be repaired: the next day's run counts again. Exit status 2 means that the source or a Variable is wrong;
the end of the log names it.

Images are recognised by their keys. If you move the folder, all of them count as new. That costs one unnecessary
retraining; the splits stay the same because they depend on image content.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag

from sniffer_airflow.alerts.callbacks import tell_of_failure
from sniffer_airflow.names import ALL_BUT_BACKFILL, PUBLISHED_LABELS, TASK_DEFAULTS
from sniffer_airflow.training.form import watch_params
from sniffer_airflow.training.tasks import announce_labels, plan_of_watch, training_program


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("30 3 * * *", timezone="UTC", run_immediately=timedelta(0)),
        assets=[PUBLISHED_LABELS],
    ),
    catchup=False,
    allowed_run_types=ALL_BUT_BACKFILL,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    on_failure_callback=tell_of_failure,
    params=watch_params(),
    description="Start a retraining when enough new labelled images have arrived. Checks every day at 03:30 UTC, and "
    "when reviewers' decisions were published.",
    tags=["sniffer", "training"],
    doc_md=__doc__,
)
def watch_labels() -> None:
    """Count the labelled images that no snapshot has seen."""
    plan_of_watch() >> training_program("count_labels") >> announce_labels()


watch_labels()
