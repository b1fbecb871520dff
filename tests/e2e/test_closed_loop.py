"""The loop, once around, without Airflow: flags → decisions → labels → retraining → gate → rollout → a better model.

The programs are those of the DAGs, each a process; database, S3, model server and review page are real ones. Reviewers
are simulated: each errs in 5 % of the images, independently, on the page itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support import loop_world
from support.loop_site import LoopSite, ServedByRollout
from support.loop_world import Shown
from support.review_site import PASSWORD, add_accounts, review_process
from support.stored_rows import rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.text import printable
from sniffer_local.closed_loop import reason_of
from sniffer_local.review_browser import ReviewBrowser
from sniffer_local.s3 import S3
from sniffer_local.simulated_reviewer import ERROR_SHARE, ReviewCounts, SimulatedReviewer
from sniffer_model.data.manifest import read_manifest
from sniffer_model.statistics.metrics import Ranking, Resampling, Scores, Truth, bootstrap, pr_area
from sniffer_model.workdir import Workdir

LABELS, UPLOADS, TRUTH = "loop-labels", "loop-uploads", "loop-truth"
FIRST, UNLABELLED, HELD_OUT = 160, 680, 300
DRAWN = 320
"""Images of the bucket that are drawn at random, flagged or not, beside all that are flagged."""
OWN_TABLE, REVIEW_TABLE = "tables/part-own.csv", "tables/part-review.csv"
SOURCE = f"s3://{LABELS}/tables/part-*"
NIGHT = ("--prevalence=0.5", "--target-precision=0.8")
"""Half of the sample pictures show drugs; the few that are held out can show no more precision than that."""
BY, WHY = "ann", "the very first model, of the few labels that there are"
REVIEWERS, LEAD = ("ann", "ben"), "lea"
REVIEW_LIMIT_S = 900.0


@dataclass(frozen=True)
class Scored:
    """What is held out, as both models score it."""

    truth: Truth
    old: Scores
    new: Scores


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedByRollout]:
    """The model server, which serves what is rolled out."""
    server = ServedByRollout(tmp_path / "serving", tmp_path / "models")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def site(s3: S3, database: Database, database_url: str, served: ServedByRollout, tmp_path: Path) -> LoopSite:
    """Everything that the programs need, and nothing in it yet."""
    del s3, database  # running, migrated
    environ = {
        "SNIFFER_DATABASE_URL": database_url,
        "SNIFFER_SERVING_URL": served.url,
        "SNIFFER_ROLLOUT_TARGET": served.target,
    }
    return LoopSite(tmp_path, tmp_path / "models", environ)


def review(database: Database, database_url: str, bucket: str, truth: Mapping[str, Shown]) -> list[ReviewCounts]:
    """Two reviewers decide all that waits, each image both of them, at the same time; a lead settles the rest."""
    add_accounts(database, lea="lead", **dict.fromkeys(REVIEWERS, "reviewer"))
    where = {f"{bucket}/{printable(key)}": reason_of(shown.label, shown.kind) for key, shown in truth.items()}
    environ = {"SNIFFER_REVIEW_SECOND_SHARE": "1", "SNIFFER_REVIEW_SECOND_SECRET": "s" * 32}

    def decide(url: str, name: str) -> list[ReviewCounts]:
        """What the other one decides comes back for this one, so a page without an image is not the end."""
        reviewer, found, deadline = (
            SimulatedReviewer(name, where, loop_world.SEED),
            [],
            time.monotonic() + REVIEW_LIMIT_S,
        )
        with ReviewBrowser(url) as browser:
            browser.log_in(name, PASSWORD)
            while is_waiting(database_url, for_lead=name == LEAD):
                assert time.monotonic() < deadline, f"{name} is not done within {REVIEW_LIMIT_S:g} s"
                found.append(reviewer.review(browser, for_lead=name == LEAD))
                time.sleep(0.5)
        return found

    with review_process(database_url, **environ) as (_, url), ThreadPoolExecutor(len(REVIEWERS)) as pool:
        by_reviewer = list(pool.map(lambda name: decide(url, name), REVIEWERS))
        return [counts for found in [*by_reviewer, decide(url, LEAD)] for counts in found]


def is_waiting(database_url: str, *, for_lead: bool) -> bool:
    """Whether the queue has an image for a lead, or for reviewers."""
    return bool(rows(database_url, f"SELECT 1 FROM review_queue WHERE is_for_lead = {int(for_lead)} LIMIT 1"))


def scores_of(database_url: str, version: int, truth: Mapping[str, Shown]) -> Scores:
    """That version's score of each held-out image, in the order of `truth`."""
    found = rows(
        database_url,
        "SELECT i.object_key, p.score FROM predictions p JOIN images i USING (image_id) "
        f"WHERE i.bucket = '{TRUTH}' AND p.model_version = {version}",
    )
    scores = {key.decode(): score for key, score in found}  # type: ignore[attr-defined]
    return np.array([scores[key] for key in truth], dtype=np.float64)


def gain_in_average_precision(scored: Scored) -> tuple[float, float, float, float]:
    """Average precision of the old and of the new model on labels without an error, and what the new one gains.

    The gain as the ends of its paired bootstrap's 95 % interval.
    """
    new, old = Ranking(scored.truth, scored.new), Ranking(scored.truth, scored.old)
    bands = bootstrap(
        scored.truth,
        lambda drawn: {"gain": pr_area(*new.counts(drawn)) - pr_area(*old.counts(drawn))},
        Resampling(loop_world.SEED, 2000),
        0.95,
    )
    areas = (float(pr_area(*ranking.counts())) for ranking in (old, new))
    return (*areas, float(bands["gain"].low), float(bands["gain"].high))  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_what_reviewers_decide_makes_the_next_model_better(
    site: LoopSite, database: Database, database_url: str, s3: S3
) -> None:
    client = s3.client()
    loop_world.first_labels(client, LABELS, FIRST, OWN_TABLE)
    truth = loop_world.unlabelled(client, UPLOADS, UNLABELLED)
    held_out = loop_world.held_out(client, TRUTH, HELD_OUT)

    # The first model: from so few labels that a person has to answer for it.
    first = site.train(1, SOURCE, NIGHT, f"--override-by={BY}", f"--override-reason={WHY}")
    assert (first["blessed"], first["overridden_by"], first["stable_version"]) == (True, BY, None)
    old = site.roll_out(1)

    # Its flags, and a random sample of what it does not flag, wait for reviewers, who err.
    certificate = site.scan(UPLOADS)
    assert certificate["outcomes"]["predicted"] == UNLABELLED, certificate
    site.run("sniffer.recall.draw", f"--labels={DRAWN}")
    database.review_queue.refresh()
    counts = review(database, database_url, UPLOADS, truth)
    decided = sum(one.decided for one in counts)
    wrong = sum(one.wrong for one in counts)
    assert 0.5 * ERROR_SHARE < wrong / decided < 1.5 * ERROR_SHARE
    site.run("sniffer.recall.measure")

    # Their decisions are labels, nearly all of them right since two decide and a lead settles.
    table = site.run("sniffer.review.publish_labels", f"--to=s3://{LABELS}/{REVIEW_TABLE}")
    assert table["left_out"]["open"] == 0
    site.scan(TRUTH)  # by the old version, while it is the stable one; after the draw, so nobody reviews it

    # The gate accepts the next model by itself: no override, no limit below its default.
    second = site.train(2, SOURCE, NIGHT)
    assert second["blessed"], second["reasons"]
    assert (second["overridden_by"], second["stable_version"]) == (None, old)
    assert not [check for check in second["checks"] if check["rule"] == "laxer_limits"]
    new = site.roll_out(2)
    stable = database.models.stable()
    assert stable is not None and stable.version == new

    # No model has seen what is held out, and the new one is better at it.
    manifest = read_manifest(Workdir(site.workdir(2)).manifest)
    assert not [entry for entry in manifest.entries if entry.key.startswith(f"s3://{TRUTH}/")]
    assert len(manifest.entries) + len(manifest.excluded) == FIRST + sum(table["labels"].values())
    site.scan(TRUTH)
    is_drugs = np.array([shown.label == "drugs" for shown in held_out.values()])
    scored = Scored(is_drugs, *(scores_of(database_url, version, held_out) for version in (old, new)))
    before, after, low, high = gain_in_average_precision(scored)
    print(f"held-out average precision {before:.4f} -> {after:.4f}, gain [{low:+.4f}, {high:+.4f}]")
    assert after > before and low > 0
