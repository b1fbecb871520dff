"""`sniffer recall draw`: choose images of certified scans, by known chances, whose labels will measure recall.

In: what scans have scored. Out: rows of `review_samples`, which wait in the reviewers' queue. The certificate is the
frame: what is walked must be as many images, and as many flagged ones, as it has counted.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SettingsError, TransientError
from sniffer.core.model_records import ModelRecord
from sniffer.core.parser import Parser, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.recall_records import (
    ALL,
    DrawnSample,
    DrawnSamples,
    DrawPlan,
    LeftOutScan,
    RecallFrame,
)
from sniffer.core.settings import database_settings
from sniffer.recall.pool import Pool
from sniffer.recall.selection import KEY_BYTES, Edges, ScoredImage, Selection

LABELS = 250
PREVALENCE = 1e-3
"""Assumed while nothing was measured and the model says nothing of its night."""
_LOOK_BACK_DAYS = 2

log = logging.getLogger(__name__)


def draw_all(
    database: Database, *, labels: int = LABELS, scan_ids: list[str] | None = None, days: int = _LOOK_BACK_DAYS
) -> DrawnSamples:
    """Draw so many images of these scans together, or of all of the last days that were not drawn from yet.

    All scans are one frame: each image of a stratum is as likely to be drawn as any other of it, whatever scan it is
    of, so a scan with few images may have none in the sample. May be run again, and be interrupted, at any time: all
    is kept at once, or nothing. A scan whose rows are not what its certificate has counted is left out. Raises
    SettingsError for fewer labels than strata, TransientError when somebody else draws from the same scans meanwhile.
    """
    stable = database.models.stable()
    if stable is None:
        raise SettingsError("no model version is stable yet: recall is measured of the version in production")
    since = datetime.now(UTC) - timedelta(days=days)
    if scan_ids:
        frames = tuple(map(database.recall.frame, scan_ids))
        for frame in frames:
            _check_version(frame, stable)
    else:
        frames = database.recall.frames(since, stable.version, stable.threshold)
    known = [found for frame in frames if (found := _drawn_before(database, frame))]
    old = {one.scan_id for one in known}
    asked = [frame for frame in frames if frame.scored and frame.scan_id not in old]
    plan = DrawPlan(secrets.token_bytes(KEY_BYTES), labels, *_prior(database, stable))
    pool = Pool(Edges.around(stable.threshold), plan)
    left_out = _looked_at(database, asked, pool)
    draws = pool.draw()
    if draws and (taken := database.recall.keep(plan, draws)):
        raise TransientError(
            f"scans {', '.join(taken)} were drawn from meanwhile by another `sniffer recall draw`: nothing was kept, "
            "run it again for the others"
        )
    samples = [
        DrawnSample(
            draw.frame.scan_id,
            draw.frame.bucket,
            draw.frame.night,
            draw.frame.scored,
            draw.frame.flagged,
            len(draw.sample.images),
            plan.prior,
            is_new=True,
        )
        for draw in draws
    ]
    return DrawnSamples(stable.version, stable.threshold, (*known, *samples), left_out)


def _looked_at(database: Database, frames: Sequence[RecallFrame], pool: Pool) -> tuple[LeftOutScan, ...]:
    """Look at each frame, and put it into the pool; which ones could not be."""
    left_out = []
    for frame in frames:
        selection = pool.selection()
        try:
            _check_certificate(database, frame)
            for page in database.recall.walk(frame):
                selection.add(ScoredImage(image_id, score) for image_id, score in page)
            _check_counts(frame, selection)
        except ContractError as error:
            log.warning("%s", error)
            left_out.append(LeftOutScan(frame.scan_id, str(error)))
        else:
            pool.add(frame, selection)
    return tuple(left_out)


def _drawn_before(database: Database, frame: RecallFrame) -> DrawnSample | None:
    prior = database.recall.prior_of(frame.scan_number)
    if prior is None:
        return None
    drawn = sum(one.drawn for one in database.review_samples.strata(frame.night, frame.scan_number))
    return DrawnSample(
        frame.scan_id, frame.bucket, frame.night, frame.scored, frame.flagged, drawn, prior, is_new=False
    )


def _prior(database: Database, stable: ModelRecord) -> tuple[float, float, str]:
    """What a score is taken to be worth: as the last audit of this version has learnt, else as calibrated."""
    for measured in database.recall.latest(stable.version):
        if (measured.bucket, measured.slice) == (ALL, ALL):
            figures = measured.figures
            return figures.score_height, figures.score_slope, f"audits up to {measured.night.isoformat()}"
    metrics = database.models.metrics(stable.version)
    prevalence = metrics.review.prevalence if metrics else PREVALENCE
    height = float(np.log(prevalence / (1 - prevalence)))
    return height, 1.0, f"calibrated scores at an assumed prevalence of {prevalence:g}"


def _check_version(frame: RecallFrame, stable: ModelRecord) -> None:
    """Reviewers are asked about nothing that no figure would count."""
    if (frame.model_version, frame.threshold) != (stable.version, stable.threshold):
        raise SettingsError(
            f"scan {frame.scan_id} is by version {frame.model_version} at the threshold {frame.threshold:g}, and "
            f"recall is measured of version {stable.version} at {stable.threshold:g}: name a scan by that one"
        )


def _check_certificate(database: Database, frame: RecallFrame) -> None:
    certificate = database.scans.certificate(frame.scan_id)
    if certificate is None or not certificate.holds:
        raise ContractError(f"scan {frame.scan_id} has no certificate that holds: nothing is drawn from it")
    if certificate.flagged_new != frame.flagged:
        raise ContractError(
            f"scan {frame.scan_id}: its certificate counts {certificate.flagged_new:,} flagged images, the table "
            f"`tallies` {frame.flagged:,}: nothing is drawn from it"
        )


def _check_counts(frame: RecallFrame, selection: Selection) -> None:
    flagged = sum(
        images for images, high in zip(selection.population, selection.edges.is_flagged(), strict=True) if high
    )
    scored = sum(selection.population)
    if (scored, flagged) != (frame.scored, frame.flagged):
        raise ContractError(
            f"scan {frame.scan_id}: it has scored {frame.scored:,} images, {frame.flagged:,} of them flagged, and "
            f"MySQL has {scored:,} and {flagged:,} of it now: a later scan, `sniffer prune` or `sniffer erase` took "
            "some over, so nothing is drawn from it; draw soon after each scan"
        )


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--labels", type=positive, default=LABELS, metavar="N", help="how many images to draw, of all scans together"
    )
    parser.add_argument(
        "--scan-id",
        action="append",
        default=[],
        metavar="ID",
        help="draw from this scan; may be given several times (default: each that was not drawn from yet)",
    )
    parser.add_argument(
        "--days", type=positive, default=_LOOK_BACK_DAYS, metavar="N", help="only scans that ended in the last days"
    )
    parser.add_argument(
        "--allow-left-out", action="store_true", help="that a scan could not be drawn from is no error: it is reported"
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    with Database(database_settings()) as database:
        database.check()
        drawn = draw_all(database, labels=arguments.labels, scan_ids=arguments.scan_id, days=arguments.days)
    is_problem = drawn.left_out and not arguments.allow_left_out
    problem = f"{len(drawn.left_out)} scans could not be drawn from" if is_problem else ""
    return ProgramResult(drawn, _in_words(drawn), 1 if problem else 0, problem)


def _in_words(drawn: DrawnSamples) -> str:
    lines = [
        f"{one.night} {one.bucket}: {one.drawn:,} of {one.scored:,} images are drawn, {one.flagged:,} of these are "
        f"flagged; by {one.prior}{'' if one.is_new else ' (drawn before)'}"
        for one in drawn.samples
    ]
    lines += [f"left out: {one.problem}" for one in drawn.left_out]
    return "\n".join(lines or ["there is no certified scan to draw from that was not drawn from yet"])


PROGRAM = Program(
    command="sniffer recall draw",
    summary="Draw a random sample of what certified scans have scored, with known chances: more where the model is "
    "unsure, and some of everything. The images wait in the reviewers' queue, unmarked. It may be run again: each scan "
    "is drawn from once.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer recall draw", "sniffer recall draw --labels 500 --scan-id scan-20261120T000000-a1b2c3"),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
