"""
### Watch for new labelled images

Lists the labelled images once a day and compares them with the last snapshot that `retrain_model` took. When enough
are new, an event of the Asset `labelled_images` starts `retrain_model`; when not, the last task is skipped, with the
numbers as its reason. Nothing but the listing is read, nothing is changed.

`plan` (what is counted) → `count_labels` (`python -m sniffer_model.data.count_labels`) → `announce_labels`.

#### Settings

The Variables `sniffer_training_dir` (where the last snapshot is) and `sniffer_retraining`, whose `source` says where
the labelled images lie and whose `new_labels` (500) says how many are enough:

    airflow variables set sniffer_retraining '{"source": "s3://labels/2026", "new_labels": 1000}'

#### When something fails

A failed run changes nothing and needs no repair: the next day's run counts again. Exit status 2 means that the source
or a Variable is wrong; the last lines of the log name it. Images are told by their keys, so a folder that was moved
counts as new: that costs one retraining too many, and its splits stay, since those go by content.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag

from sniffer_airflow.names import TASK_DEFAULTS
from sniffer_airflow.training.form import watch_params
from sniffer_airflow.training.tasks import announce_labels, plan_of_watch, training_program


@dag(
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params=watch_params(),
    tags=["sniffer", "training"],
    doc_md=__doc__,
)
def watch_labels() -> None:
    """Count the labelled images that no snapshot has seen."""
    plan_of_watch() >> training_program("count_labels") >> announce_labels()


watch_labels()
