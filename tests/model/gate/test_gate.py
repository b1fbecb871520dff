"""The gate as a program: verdicts in the file and in `models`, and what it refuses to judge."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from sklearn.metrics import average_precision_score
from support.saved_models import save_mean_of_red
from support.scratch_bucket import ScratchBucket
from support.training import FEW_IMAGES, NIGHT, Run

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.changed_images import PICTURE_PREFIX
from sniffer.core.files import read_json, write_json
from sniffer.core.gate_records import GateVerdict
from sniffer.core.model_records import LABELS, ModelFacts, ModelRecord, ModelStatus
from sniffer.core.settings import ImageSettings
from sniffer_model.data.manifest import Split
from sniffer_model.evaluation import evaluate
from sniffer_model.evaluation.evaluated_run import score_splits
from sniffer_model.gate import __main__ as gate
from sniffer_model.gate.changed_images import SHOWN
from sniffer_model.gate.comparison import class_weights
from sniffer_model.gate.judge import GateOptions, judge, read_candidate
from sniffer_model.gate.limits import Limits
from sniffer_model.release.publish import FACTS_FILE, SIGNATURES, digest_directory, read_facts
from sniffer_model.workdir import Workdir

# What the small trained model is held against: this file is about the program, test_verdict.py about the limits.
LENIENT = ["--min-pr-auc", "0.5", "--min-roc-auc", "0.5", *FEW_IMAGES]


@pytest.fixture(scope="module")
def evaluated_run(trained_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The trained run, evaluated for nights of many drugs: so few images resolve no rarer ones."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained_run.workdir.path, folder, ignore=shutil.ignore_patterns("verdict.json"))
    run = dataclasses.replace(trained_run, workdir=Workdir(folder))
    assert evaluate.main([*run.flags, *NIGHT]) == 0
    return run


@pytest.fixture
def run(evaluated_run: Run, tmp_path: Path) -> Run:
    """A copy of the evaluated run."""
    shutil.copytree(evaluated_run.workdir.path, tmp_path / "run")
    return dataclasses.replace(evaluated_run, workdir=Workdir(tmp_path / "run"))


@pytest.fixture
def database(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The gate will use it."""
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    return database


@pytest.fixture(scope="module")
def weak_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model base path with version 4, which scores by the mean of red. Not to be written to."""
    base = tmp_path_factory.mktemp("weak")
    save_mean_of_red(base / "4", SIGNATURES)
    digest = digest_directory(base / "4")
    facts = ModelFacts(
        4, digest, "b" * 64, "x", "h" * 64, PREPROCESSING_VERSION, 0.5, "m" * 64, LABELS, SIGNATURES, "x"
    )
    write_json(base / "4" / FACTS_FILE, facts)
    return base


def make_stable(database: Database, base: Path, version: int, digest: str | None = None) -> None:
    facts = read_facts(base / str(version))
    record = ModelRecord(
        version,
        digest or facts.digest,
        facts.backbone_digest,
        facts.preprocessing_version,
        facts.threshold,
        ModelStatus.BLESSED,
    )
    database.models.register(record)
    database.models.promote(version)


def judged(run: Run, *flags: str) -> GateVerdict:
    assert gate.main([*run.flags, *LENIENT, *flags]) == 0
    return read_json(run.workdir.verdict, GateVerdict, made_by="sniffer model gate")


def refused(run: Run, *flags: str) -> bool:
    return gate.main([*run.flags, *LENIENT, *flags]) == 2 and not run.workdir.verdict.exists()


def test_the_first_model_is_judged_by_its_limits_alone_and_keeps_its_version(
    run: Run, database: Database, weak_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = judged(run, "--model-base-path", str(weak_base))
    assert json.loads(capsys.readouterr().out) == json.loads(run.workdir.verdict.read_text())
    assert (verdict.blessed, verdict.stable_version, verdict.overridden_by) == (True, None, None)
    assert any("no stable model" in reason for reason in verdict.reasons)
    assert verdict.version == 5, "above what is published"
    row = database.models.get(5)
    assert row is not None
    assert (row.status, row.digest, database.models.verdict(5)) == (ModelStatus.BLESSED, "", verdict)
    assert row.candidate_digest == verdict.candidate_digest
    assert database.models.report(5) == run.workdir.report.read_text()
    assert database.models.changed_images(5) is None

    strict = judged(run, "--min-pr-auc", "1.01")
    assert (strict.blessed, strict.version) == (False, 5)
    assert len(strict.reasons) == 1
    row = database.models.get(5)
    assert row is not None
    assert (row.status, database.models.verdict(5)) == (ModelStatus.REJECTED, strict)


def test_images_that_were_drawn_at_random_count_by_their_chance(
    run: Run, database: Database, weak_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_stable(database, weak_base, 4)
    found = read_candidate(run.workdir)
    entries = tuple(
        dataclasses.replace(entry, chance=0.05 if number % 3 else 1.0)
        for number, entry in enumerate(found.manifest.entries)
    )
    drawn = dataclasses.replace(found, manifest=dataclasses.replace(found.manifest, entries=entries))
    options = GateOptions(Limits(), None, run.feature_cache, str(weak_base), ImageSettings())
    comparison = judge(drawn, options, database).figures.comparison
    files = run.workdir, drawn.manifest, drawn.training
    test = score_splits(*files, run.feature_cache, ImageSettings(), (Split.TEST,))[Split.TEST]
    weights = class_weights([entry.chance for entry in test.entries], test.truth)
    weighted = average_precision_score(test.truth, test.scores, sample_weight=weights)
    assert weighted != pytest.approx(average_precision_score(test.truth, test.scores), abs=1e-4)
    assert comparison is not None and comparison.pr_auc.candidate == pytest.approx(weighted, abs=1e-6)
    assert "weigh images that were drawn at random by 1 / their chance" in caplog.text


def test_one_training_at_two_thresholds_is_two_candidates(run: Run, database: Database) -> None:
    first = judged(run)
    assert evaluate.main([*run.flags, "--prevalence", "0.5", "--capacity", "80000"]) == 0
    second = judged(run, "--min-pr-auc", "1.01")
    assert first.training_digest == second.training_digest
    assert (first.version, second.version) == (1, 2)
    rows = [database.models.get(version) for version in (1, 2)]
    assert [row and row.status for row in rows] == [ModelStatus.BLESSED, ModelStatus.REJECTED]
    assert rows[0] is not None and rows[1] is not None
    assert rows[0].threshold != rows[1].threshold
    assert [database.models.verdict(version) for version in (1, 2)] == [first, second]


def test_a_better_candidate_is_blessed(run: Run, database: Database, weak_base: Path) -> None:
    make_stable(database, weak_base, 4)
    lenient = ["--max-recall-loss", "1", "--max-precision-loss", "1", "--max-slice-loss", "1"]
    verdict = judged(run, "--model-base-path", str(weak_base), *lenient)
    comparison = verdict.figures.comparison
    assert verdict.blessed, verdict.reasons
    assert (verdict.stable_version, verdict.version) == (4, 5)
    assert comparison is not None and comparison.pr_auc.difference is not None
    assert comparison.pr_auc.difference.low > 0
    assert comparison.images == sum(one.images for one in comparison.slices)

    changed = database.models.changed_images(5)
    assert changed is not None
    assert (changed.stable_version, changed.compared) == (4, comparison.images)
    assert changed.count >= len(changed.images) > 0
    assert len(changed.images) <= SHOWN
    for one in changed.images:
        assert one.flagged_now == (one.stable_score < 0.5)  # the threshold of the stable version
        assert one.picture is not None and one.picture.startswith(PICTURE_PREFIX)
        with Image.open(io.BytesIO(base64.b64decode(one.picture.removeprefix(PICTURE_PREFIX)))) as picture:
            assert (picture.format, picture.size, dict(picture.getexif())) == ("JPEG", (224, 224), {})
    moved = [abs(one.candidate_score - one.stable_score) for one in changed.images]
    assert moved == sorted(moved, reverse=True)


@pytest.mark.slow
def test_a_stable_model_in_s3_is_judged_as_one_in_a_folder(
    run: Run, database: Database, weak_base: Path, bucket: ScratchBucket
) -> None:
    for path in (weak_base / "4").rglob("*"):
        if path.is_file():
            bucket.client.upload_file(str(path), bucket.name, f"models/{path.relative_to(weak_base).as_posix()}")
    make_stable(database, weak_base, 4)
    here, there = (judged(run, "--model-base-path", base) for base in (str(weak_base), f"s3://{bucket.name}/models"))
    assert there == here
    assert there.figures.comparison is not None
    assert (there.stable_version, there.figures.comparison.images > 0) == (4, True)

    bucket.delete(f"models/4/{FACTS_FILE}")
    run.workdir.verdict.unlink()
    assert refused(run, "--model-base-path", f"s3://{bucket.name}/models")


@pytest.mark.slow
def test_the_stable_model_itself_is_not_blessed_again(run: Run, database: Database, exported_model: Path) -> None:
    make_stable(database, exported_model, 1)
    verdict = judged(run, "--model-base-path", str(exported_model))
    comparison = verdict.figures.comparison
    assert comparison is not None and comparison.pr_auc.difference is not None
    assert not verdict.blessed
    # The exported graph computes in float32: scores that nearly tie may change places.
    assert comparison.pr_auc.difference.value == pytest.approx(0, abs=1e-3)
    assert any("not shown to be better" in reason for reason in verdict.reasons)


def test_an_override_is_recorded_with_its_name_its_reason_and_what_it_overrode(run: Run, database: Database) -> None:
    strict = ["--min-pr-auc", "1.01"]
    rejected = judged(run, *strict)
    overridden = judged(run, *strict, "--override-by", "Kim", "--override-reason", "a drill")
    assert (rejected.blessed, overridden.blessed) == (False, True)
    assert (overridden.overridden_by, overridden.override_reason) == ("Kim", "a drill")
    assert overridden.reasons == rejected.reasons
    row = database.models.get(overridden.version or 0)
    assert row is not None
    assert (row.status, database.models.verdict(row.version)) == (ModelStatus.BLESSED, overridden)


def test_judging_again_what_is_exported_erases_neither_its_verdict_nor_its_override(
    run: Run, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = ["--min-pr-auc", "1.01"]
    signed = judged(run, *strict, "--override-by", "Kim", "--override-reason", "a drill")
    version = signed.version or 0
    row, report = database.models.get(version), database.models.report(version)
    assert row is not None
    database.models.register(dataclasses.replace(row, digest="f" * 64))
    again = judged(run, *strict)
    assert (again.blessed, again.version) == (False, version)
    assert f"version {version} is exported: the verdict of then stays in force" in capsys.readouterr().err
    assert database.models.get(version) == dataclasses.replace(row, digest="f" * 64)
    assert database.models.verdict(version) == signed
    assert database.models.report(version) == report
    assert database.models.verdicts(version) == [signed, again]


def test_a_stable_model_that_cannot_be_reached_is_never_taken_for_none(
    run: Run, database: Database, weak_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_stable(database, weak_base, 4)
    assert refused(run)
    assert "--model-base-path must say where it is published" in capsys.readouterr().err
    assert refused(run, "--model-base-path", str(tmp_path / "elsewhere"))
    assert database.models.get(5) is None


def test_another_model_under_the_stable_version_is_refused(
    run: Run, database: Database, weak_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_stable(database, weak_base, 4, digest="0" * 64)
    assert refused(run, "--model-base-path", str(weak_base))
    assert "is not the one in `models`: its digest is" in capsys.readouterr().err


def test_half_an_override_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (
        ["--override-by", "Kim"],
        ["--override-reason", "because"],
        ["--override-by", "", "--override-reason", "x"],
    ):
        assert refused(run, *flags)
        assert "both --override-by and --override-reason" in capsys.readouterr().err


def test_without_a_database_the_stable_version_must_be_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, weak_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SNIFFER_DATABASE_URL", raising=False)
    assert refused(run)
    assert "SNIFFER_DATABASE_URL is not set" in capsys.readouterr().err
    assert refused(run, "--no-register")
    assert "say what is stable" in capsys.readouterr().err
    assert refused(run, "--no-register", "--stable-version", "four")
    first = judged(run, "--no-register", "--stable-version", "none")
    assert (first.version, first.stable_version) == (None, None)
    second = judged(run, "--no-register", "--stable-version", "4", "--model-base-path", str(weak_base))
    assert (second.version, second.stable_version) == (None, 4)


def test_metrics_of_another_training_are_not_judged(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = json.loads(run.workdir.metrics.read_text())
    write_json(run.workdir.metrics, {**metrics, "training_digest": "0" * 64})
    assert refused(run, "--no-register", "--stable-version", "none")
    assert "run `sniffer model evaluate` again" in capsys.readouterr().err


def test_images_gone_since_the_training_leave_too_little_to_compare_on(
    run: Run, weak_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images/labels/drugs").mkdir(parents=True)
    document = json.loads(run.workdir.manifest.read_text())
    run.workdir.manifest.write_text(json.dumps({**document, "source": str(tmp_path / "images")}))
    assert refused(run, "--no-register", "--stable-version", "4", "--model-base-path", str(weak_base))
    assert "cannot be read any more" in capsys.readouterr().err
