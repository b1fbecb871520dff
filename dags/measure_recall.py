"""
### Measure recall

Says how many drug images the model in production misses, and how sure that is. Draws a random sample of what the last
scans have scored, mostly where the model is unsure, for the reviewers' queue; and measures, by their decisions about
the samples of the last nights, prevalence, recall and precision with 95 % intervals.

#### When it runs

Every day at 07:00 UTC, after the nightly scans, or when you press *Trigger*.

#### Steps

1. `plan` works out how many images are drawn, and how many nights count.
2. `draw` runs the program `python -m sniffer.recall.draw`: each certified scan is drawn from once.
3. `measure` runs `python -m sniffer.recall.measure`, and keeps the figures in the table `recall_figures`.
4. `report` has the figures in its log and its XCom (`text`). It is red when a bucket's newest night is unlike its past
   (about one false alarm a year and bucket), or when a scan could not be drawn from; its last line says which.

#### Set it up

Reviewers decide what was drawn in the same queue as what is flagged. Variable `sniffer_recall`: JSON, may be left out.

    airflow variables set sniffer_recall '{"labels": 500, "nights": 28}'

#### If something goes wrong

Clear the task: a rerun draws the same images, and replaces the figures of the same night. Before anybody has decided
about a sample, there are no figures yet, and the log says so. Exit status 2 of `draw` means that there is no stable
version, or that the settings are wrong.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag

from sniffer_airflow.alerts.callbacks import tell_of_failure
from sniffer_airflow.names import ALL_BUT_BACKFILL, TASK_DEFAULTS
from sniffer_airflow.recall.form import recall_params
from sniffer_airflow.recall.tasks import plan_of_recall, recall_program, report


@dag(
    schedule=CronTriggerTimetable("0 7 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    allowed_run_types=ALL_BUT_BACKFILL,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    on_failure_callback=tell_of_failure,
    params=recall_params(),
    description="Measure how many drug images the model misses, by a random sample for reviewers. Every day.",
    tags=["sniffer", "review"],
    doc_md=__doc__,
)
def measure_recall() -> None:
    """Draw a sample of the last scans, and measure by what reviewers have decided."""
    plan_of_recall() >> recall_program("draw") >> recall_program("measure") >> report()


measure_recall()
