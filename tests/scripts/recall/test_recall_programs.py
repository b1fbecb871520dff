"""`sniffer recall draw` and `measure` on a real database: what is drawn, what it measures, what is refused."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from support.audited import certified_scan, decide_all, spread_scores
from support.stored_rows import change, model, rows

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.review import samples
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.review_records import Reason, SecondReview
from sniffer.recall import draw, measure
from sniffer.recall.draw import draw_all
from sniffer.recall.pool import Pool
from sniffer.recall.selection import Edges, Selection

TODAY = datetime.now(UTC).date


@pytest.fixture
def database(database: Database) -> Database:
    """With a stable version 1, whose threshold is 0.5."""
    database.models.register(model(1))
    database.models.promote(1)
    return database


def drawn_ids(database_url: str) -> list[object]:
    return [row[0] for row in rows(database_url, "SELECT image_id FROM review_samples ORDER BY image_id")]


def test_a_sample_is_drawn_once_from_each_certified_scan_with_known_chances(
    database: Database, database_url: str
) -> None:
    scores, _ = spread_scores(1200, seed=1)
    certified_scan(database, "first", scores)
    certified_scan(database, "empty", [])
    [sample] = draw_all(database, labels=150).samples
    assert (sample.scan_id, sample.scored, sample.is_new) == ("first", 1200, True)
    assert sample.flagged == sum(score >= 0.5 for score in scores)
    [frame] = [database.recall.frame("first")]
    strata = database.review_samples.strata(frame.night, frame.scan_number)
    assert sum(one.population for one in strata) == 1200
    assert all(min(one.population, 2) <= one.drawn <= one.population for one in strata)
    assert sample.drawn == sum(one.drawn for one in strata) == 150
    images = database.review_samples.reviewed(frame.night, frame.scan_number)
    assert Counter(one.image.stratum for one in images) == Counter(
        {one.stratum: one.drawn for one in strata if one.drawn}
    )
    for one in images:
        stratum = strata[one.image.stratum]
        assert one.image.probability == pytest.approx(stratum.drawn / stratum.population)
        assert stratum.low <= one.image.score <= stratum.high
    # Where the model is unsure, far more of the images are drawn than in the tail.
    chances = [one.drawn / one.population for one in strata if one.population > 20]
    assert max(chances) > 4 * chances[0] > 0
    before = drawn_ids(database_url)
    assert draw_all(database, labels=150).samples == ()
    assert not draw_all(database, labels=999, scan_ids=["first"]).samples[0].is_new
    assert drawn_ids(database_url) == before


def test_an_interrupted_draw_leaves_nothing_and_two_at_once_are_one(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        certified_scan(database, name, spread_scores(400, seed=2)[0])
    kept = ("recall_draws", "review_samples", "review_sample_strata", "review_queue")

    def killed(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched:
        patched.setattr(samples, "_let_wait", killed)
        with pytest.raises(InterruptedError):
            draw_all(database, labels=60)
    assert all(rows(database_url, f"SELECT COUNT(*) FROM {table}") == [(0,)] for table in kept)
    # Another draw takes one of the scans while we still look at it.
    selection = Pool.selection

    def late(pool: Pool) -> Selection:
        monkeypatch.setattr(Pool, "selection", selection)
        assert draw_all(database, labels=50, scan_ids=["two"]).samples[0].drawn == 50
        return pool.selection()

    monkeypatch.setattr(Pool, "selection", late)
    with pytest.raises(TransientError, match="scans two were drawn from meanwhile"):
        draw_all(database, labels=60)
    assert len(drawn_ids(database_url)) == 50
    [sample] = draw_all(database, labels=60).samples
    assert (sample.scan_id, sample.drawn) == ("one", 60)
    keys = rows(database_url, "SELECT DISTINCT draw_key FROM recall_draws")
    assert len(keys) == 2
    # What an earlier release had begun, and not ended, is drawn from as if it were new.
    change(database_url, "UPDATE recall_draws SET scored = NULL WHERE labels = 60")
    for table in ("review_samples", "review_sample_strata"):
        change(database_url, f"DELETE FROM {table}")
    assert draw_all(database, labels=70).samples[0].drawn == 70


def test_a_night_of_many_buckets_is_drawn_from_within_the_budget(database: Database, database_url: str) -> None:
    for number in range(8):
        scores = spread_scores(10 if number < 6 else 500, seed=number)[0]
        certified_scan(database, f"s{number}", scores, bucket=f"b{number}")
    with pytest.raises(SettingsError, match="--labels 3 is too few: the scores of these scans lie in .. strata"):
        draw_all(database, labels=3)
    drawn = draw_all(database, labels=80).samples
    assert [one.bucket for one in drawn] == [f"b{number}" for number in range(8)]
    assert sum(one.drawn for one in drawn) == 80 == len(drawn_ids(database_url))
    kept = database.recall.draws(TODAY() - timedelta(days=1), TODAY(), 1, 0.5)
    strata = [one for draw in kept for one in database.review_samples.strata(draw.night, draw.scan_number)]
    assert sum(one.population for one in strata) == 1060 == sum(sum(draw.histogram) for draw in kept)
    chances: dict[int, set[float | None]] = {}
    for one in strata:
        if one.population:
            chances.setdefault(one.stratum, set()).add(one.probability)
    # Each image of a stratum has the same chance, which is none that only its own scan would give it.
    assert all(len(found) == 1 and 0 < (min(found, key=str) or 0) <= 1 for found in chances.values())
    for stratum, found in chances.items():
        ours = [one for one in strata if one.stratum == stratum]
        assert found == {sum(one.drawn for one in ours) / sum(one.population for one in ours)}


def test_what_the_certificate_has_not_counted_is_not_drawn_from(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    certified_scan(database, "wrong", [0.1, 0.9, 0.2], flagged=2)
    certified_scan(database, "pruned", [0.1, 0.9, 0.2])
    certified_scan(database, "right", [0.1, 0.9, 0.2])
    change(
        database_url,
        "DELETE FROM predictions WHERE score = 0.2 AND scan_number = (SELECT number FROM scans WHERE scan_id='pruned')",
    )
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    assert draw.main(["--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["scan_id"] for one in found["samples"]] == ["right"]
    problems = {one["scan_id"]: one["problem"] for one in found["left_out"]}
    assert "counts 2 flagged images, the table `tallies` 1" in problems["wrong"]
    assert "has scored 3 images, 1 of them flagged, and MySQL has 2 and 1" in problems["pruned"]
    assert len(drawn_ids(database_url)) == 3
    # As `measure_recall` runs it, which measures all the same and says so in its report.
    assert draw.main(["--allow-left-out", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["left_out"]) == 2


def test_only_whole_scans_with_a_certificate_that_holds_are_frames(database: Database, database_url: str) -> None:
    certified_scan(database, "s", [0.1])
    change(database_url, "UPDATE scans SET state = 'incomplete'")
    assert draw_all(database).samples == ()
    with pytest.raises(SettingsError, match="scan s is incomplete"):
        draw_all(database, scan_ids=["s"])
    with pytest.raises(SettingsError, match="there is no scan other"):
        draw_all(database, scan_ids=["other"])


def test_decisions_become_figures_with_intervals_that_a_rerun_repeats(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    # Fewer draws are coarser intervals: how good those are, test_recall_intervals.py says.
    monkeypatch.setattr(measure, "DRAWS", 1000)
    assert measure.main([]) == 2
    assert "run `sniffer recall draw` after a scan" in capsys.readouterr().err
    truth: dict[int, bool] = {}
    for number, bucket in enumerate(("one", "two")):
        scores, drugs = spread_scores(900, seed=number)
        certified_scan(database, bucket, scores, bucket=bucket)
        found = rows(database_url, f"SELECT image_id FROM images WHERE bucket = '{bucket}' ORDER BY image_id")
        keys = rows(database_url, f"SELECT image_id, score FROM predictions WHERE image_id >= {found[0][0]}")
        by_score = dict(zip(scores, drugs, strict=True))
        truth |= {int(str(image)): by_score[float(str(score))] for image, score in keys}
    draw_all(database, labels=400)
    assert measure.main([]) == 2
    assert "has a decision that counts yet" in capsys.readouterr().err
    assert measure.main(["--allow-empty", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measured"] == []
    everybody = SecondReview(1.0)
    assert decide_all(database, "ann", truth.__getitem__, second=everybody) > 300
    assert decide_all(database, "bob", truth.__getitem__, second=everybody) > 300

    report = measure.measure(database, TODAY())
    assert database.drift.newest(TODAY()) == report.drift and len(report.drift) == 4
    whole, *buckets, cannabis = report.measured
    assert (whole.bucket, whole.slice, whole.undecided) == ("", "", 0)
    assert [one.bucket for one in buckets] == ["one", "two"]
    assert (cannabis.slice, cannabis.figures.positives) == (Reason.CANNABIS, whole.figures.positives)
    assert whole.pairs == whole.figures.labels
    flagged = [row[0] for row in rows(database_url, "SELECT image_id FROM predictions WHERE score >= 0.5")]
    right = sum(truth[int(str(image))] for image in flagged)
    figures = whole.figures
    for share, true in (
        (figures.prevalence, sum(truth.values()) / len(truth)),
        (figures.recall, right / sum(truth.values())),
        (figures.precision, right / len(flagged)),
    ):
        assert share is not None
        assert share.low - 0.005 <= true <= share.high + 0.005
        assert share.high - share.low < 0.25
    in_order = tuple(sorted(report.measured, key=lambda one: (one.bucket, one.slice)))
    assert database.recall.latest(1) == in_order
    assert database.recall.prevalence(datetime.now(UTC), 35) == whole
    # A slice that a rerun does not have, since its decisions were corrected, is not told of any more.
    database.recall.store(report.measured[:-1])
    assert set(database.recall.latest(1)) == set(report.measured[:-1])
    assert measure.main([]) == 0
    assert "model version 1, threshold 0.5000" in capsys.readouterr().out
    assert database.recall.latest(1) == in_order
    # The next draw goes by what was learnt.
    certified_scan(database, "later", spread_scores(200, seed=9)[0])
    assert draw_all(database).samples[0].prior == f"audits up to {whole.night.isoformat()}"


def test_the_strata_tile_all_scores_and_the_threshold_is_an_edge() -> None:
    for threshold in (1e-9, 0.003, 0.5, 0.97, 1.0):
        edges = Edges.around(threshold)
        assert edges.low[0] == 0 and edges.high[-1] == 1 and threshold in edges.low
        for score in (0.0, threshold, *edges.low, 1.0):
            number = edges.stratum(score)
            assert edges.low[number] <= score <= edges.high[number]
            assert edges.is_flagged()[number] == (score >= threshold)
