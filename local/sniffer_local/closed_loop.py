"""The demo's last steps: what was flagged is reviewed, the decisions become labels, and Airflow retrains with them.

A simulated reviewer decides on the review page, as a browser would, and leaves a part of the queue for people. The
DAGs run by Airflow's own scheduler: `publish_labels` when it is triggered, the next two by the events before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import EVERYTHING, Reason, ReviewDecision
from sniffer.core.text import printable
from sniffer.recall.draw import draw_all
from sniffer_local.dag_runs import DagRun, DagRuns
from sniffer_local.review import SIMULATED, ReviewSite
from sniffer_local.review_browser import BatchOnPage, ReviewBrowser
from sniffer_local.sample_bucket import SampleTruth
from sniffer_local.simulated_reviewer import ERROR_SHARE, ReviewCounts, SimulatedReviewer

PUBLISH, WATCH, RETRAIN = "publish_labels", "watch_labels", "retrain_model"
SAMPLE = 40
"""About how many images are drawn at random, most of them unflagged ones."""
DECIDED = 40
"""At most so many images does she decide, and each third batch she leaves to people, as she does look-alikes."""

_REASONS: Mapping[str, Reason] = {
    "pills": Reason.PRESCRIPTION_MEDICINE,
    "blister": Reason.PRESCRIPTION_MEDICINE,
    "bottle": Reason.PRESCRIPTION_MEDICINE,
    "powder": Reason.RECREATIONAL_DRUG,
}
"""Of the slices of drugs."""


def reason_of(label: str | None, slice_: str) -> Reason | None:
    """Why an image of that class and slice shows drugs; None when it shows none."""
    return _REASONS[slice_] if label == "drugs" else None


@dataclass(frozen=True, slots=True)
class ReviewedBucket:
    """The bucket that is reviewed, what its objects show, and where people decide."""

    name: str
    truth: Mapping[str, SampleTruth]
    site: ReviewSite


def has_reviewed(database: Database) -> bool:
    """Whether the simulated reviewer has decided anything yet: she comes once."""
    return bool(database.review_decisions.latest(1, reviewer=SIMULATED))


def newest_decision(database: Database) -> str:
    """The number of the newest decision of all, as text; empty when there is none."""
    return "".join(str(each.row.number) for each in database.review_decisions.latest(1))


def queue_sample(database: Database, scan_id: str) -> int:
    """Put a random sample of the scan into the queue, beside what it has flagged; returns its size. Idempotent."""
    database.review_queue.refresh()  # which the page does once a minute
    return sum(sample.drawn for sample in draw_all(database, labels=SAMPLE, scan_ids=[scan_id]).samples)


def review_a_part(database: Database, bucket: ReviewedBucket, tell: Callable[[str], None]) -> ReviewCounts:
    """Let the simulated reviewer decide a part of what waits, at most half."""
    waiting = database.review_queue.backlog(EVERYTHING)
    tell(f"{waiting} images wait for reviewers: one decides at the page")
    where = {f"{bucket.name}/{printable(key)}": truth for key, truth in bucket.truth.items()}
    reviewer = SimulatedReviewer(SIMULATED, {at: reason_of(each.label, each.slice) for at, each in where.items()})
    with ReviewBrowser(bucket.site.url) as browser:
        browser.log_in(SIMULATED, bucket.site.passwords[SIMULATED])
        counts = reviewer.review(browser, most=min(DECIDED, waiting // 2), leaves=_Leaves(where))
        browser.log_out()
    tell(
        f"{SIMULATED} has decided {counts.decided} images: {counts.said[ReviewDecision.DRUG]} drug, "
        f"{counts.said[ReviewDecision.NOT_DRUG]} not drug; {counts.wrong} wrongly (she errs in {ERROR_SHARE:.0%})"
    )
    return counts


class _Leaves:
    """What she leaves to people: look-alikes, and each third batch of the others."""

    def __init__(self, truth: Mapping[str, SampleTruth]) -> None:
        self._truth = truth
        self._met = 0

    def __call__(self, batch: BatchOnPage) -> bool:
        known = [self._truth[image.where] for image in batch.images if image.where in self._truth]
        if len(batch.images) > 1 or any(truth.has_copies for truth in known):
            return True
        self._met += 1
        return self._met % 3 == 0


def retrain_by_decisions(runs: DagRuns, tell: Callable[[str], None]) -> DagRun | None:
    """Publish the decisions as labels, and follow what comes of it until a retraining begins; None if none is due."""
    for dag_id in (WATCH, RETRAIN):
        runs.let_run(dag_id)
    watched, trained = runs.known(WATCH), runs.known(RETRAIN)
    published = runs.run(PUBLISH, {})
    table = runs.result(published, "publish")
    labels = ", ".join(f"{count} {label}" for label, count in table["labels"].items())
    tell(f"the decisions are labels: {labels}, in {table['location']}")
    if runs.task_state(published, "announce_published") != "success":
        tell("they are the same labels as before: no retraining follows")
        return None
    watch = runs.await_next(WATCH, watched)
    counts = runs.result(watch, "count_labels")
    tell(f"{counts['new']} of {counts['labelled']} labelled images are new")
    if runs.task_state(watch, "announce_labels") != "success":
        tell("too few for a retraining: `new_labels` in the Variable sniffer_retraining says how many are enough")
        return None
    return runs.await_start(RETRAIN, trained)
