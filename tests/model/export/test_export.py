"""The export: what is published scores as it was trained, is registered once, and is nothing at all when unproven."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.fleet import ModelServerProcess
from support.programs import Program
from support.training import Run
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from sniffer.adapters.images.render import decode
from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError
from sniffer.core.files import read_json, write_json
from sniffer.core.model_metrics import ModelMetrics
from sniffer.core.model_records import IMAGE_SIDE, LABELS, PIXEL_BYTES, ModelStatus
from sniffer.core.redaction import SecretUrl
from sniffer.core.settings import DatabaseSettings, ImageSettings
from sniffer_model.data.manifest import Split, read_manifest
from sniffer_model.data.source import open_source
from sniffer_model.evaluation.evaluated_run import candidate_digest
from sniffer_model.export import export
from sniffer_model.export.choose_golden import choose_golden
from sniffer_model.export.prove import PARITY_TOLERANCE, check_parity
from sniffer_model.export.warmup import BATCH_SIZES, WARMUP_FILE, read_warmup, replay_warmup
from sniffer_model.gate import __main__ as gate
from sniffer_model.release.golden import read_golden
from sniffer_model.release.publish import FACTS_FILE, published_versions, read_facts
from sniffer_model.statistics.calibration import calibrated
from sniffer_model.training.backbone import load_backbone
from sniffer_model.training.head import load_head, predict_scores
from sniffer_model.training.network import LoadedSignature, load_signatures
from sniffer_model.workdir import Workdir, read_training, write_training
from sniffer_rollout.proofs.golden_check import GoldenLimits, check_golden


@pytest.fixture(scope="module")
def version(exported_model: Path) -> Path:
    return exported_model / "1"


@pytest.fixture(scope="module")
def signatures(version: Path) -> dict[str, LoadedSignature]:
    return load_signatures(version)


def scores(signature: LoadedSignature, **inputs: list[bytes]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    tensors = {name: tf.constant(values, tf.string) for name, values in inputs.items()}
    found: np.ndarray[tuple[int], np.dtype[np.float32]] = signature(**tensors)["score"].numpy()
    return found


def test_signatures_are_the_contract_as_a_server_reads_it(version: Path) -> None:
    loaded = tf.saved_model.load(version)
    for name, input_name in (("pixels", "pixels"), ("serving_default", "image_bytes")):
        signature = loaded.signatures[name]
        (_, arguments) = signature.structured_input_signature
        assert arguments == {input_name: tf.TensorSpec([None], tf.string, name=input_name)}
        output = signature.structured_outputs["score"]
        assert (output.dtype, output.shape.as_list()) == (tf.float32, [None])


def test_a_score_does_not_depend_on_the_rest_of_its_batch(
    signatures: dict[str, LoadedSignature], version: Path
) -> None:
    raw = [example.image.pixels.tobytes() for example in read_golden(version)]
    together = scores(signatures["pixels"], pixels=raw)
    alone = [scores(signatures["pixels"], pixels=[pixels])[0] for pixels in raw]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together) > 0.01


@pytest.mark.slow
def test_a_server_over_rest_answers_what_was_trained(exported_model: Path, version: Path, tmp_path: Path) -> None:
    server = ModelServerProcess(exported_model, tmp_path / "serve.log")
    server.start()
    try:
        exact = GoldenLimits(pixels=PARITY_TOLERANCE, encoded=PARITY_TOLERANCE)
        found = check_golden(SecretUrl(server.url.partition("/v1/")[0]), 1, read_golden(version), exact, patience_s=30)
    finally:
        server.stop()
    assert max(found.pixels, found.serving_default) <= PARITY_TOLERANCE


def test_scores_are_calibrated_in_the_graph(
    signatures: dict[str, LoadedSignature], version: Path, trained_run: Run
) -> None:
    examples = read_golden(version)
    served = scores(signatures["pixels"], pixels=[example.image.pixels.tobytes() for example in examples])
    backbone = load_backbone(trained_run.workdir.backbone_weights, "random")
    features = backbone.network.predict(np.stack([example.image.pixels for example in examples]), verbose=0)
    raw = predict_scores(load_head(trained_run.workdir.head_weights), features)
    temperature = json.loads(trained_run.workdir.metrics.read_text())["temperature"]
    assert temperature != 1
    assert served == pytest.approx(calibrated(raw, temperature), abs=1e-5)


@pytest.mark.parametrize("lengths", [[0], [PIXEL_BYTES + 1], [PIXEL_BYTES // 2] * 2, [PIXEL_BYTES, 3]])
def test_pixels_of_a_wrong_length_fail_in_the_graph_whatever_the_batch(
    signatures: dict[str, LoadedSignature], lengths: list[int]
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"must be {PIXEL_BYTES} bytes"):
        scores(signatures["pixels"], pixels=[bytes(length) for length in lengths])


def test_encoded_images_of_any_size_and_kind_are_scored(signatures: dict[str, LoadedSignature]) -> None:
    kinds = [
        tf.io.encode_jpeg(tf.zeros([300, 500, 3], tf.uint8)).numpy(),
        tf.io.encode_jpeg(tf.zeros([40, 30, 1], tf.uint8)).numpy(),
        tf.io.encode_png(tf.zeros([224, 224, 4], tf.uint8)).numpy(),
        tf.io.encode_png(tf.zeros([20, 20, 1], tf.uint16)).numpy(),
    ]
    black = scores(signatures["pixels"], pixels=[bytes(PIXEL_BYTES)])
    np.testing.assert_allclose(scores(signatures["serving_default"], image_bytes=kinds), np.repeat(black, 4), atol=1e-5)


def test_bytes_that_are_no_image_fail_in_the_graph(signatures: dict[str, LoadedSignature]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        scores(signatures["serving_default"], image_bytes=[b"<html>"])


def test_the_exported_graph_neither_learns_nor_draws_nor_calls_python(version: Path) -> None:
    saved = SavedModel.FromString((version / "saved_model.pb").read_bytes())
    functions = [f for f in saved.meta_graphs[0].graph_def.library.function if "traced_" not in f.signature.name]
    operations = {node.op for function in functions for node in function.node_def}
    assert {"Conv2D", "Softmax", "DecodeRaw", "DecodeImage"} <= operations
    assert not {op for op in operations if "Assign" in op or "Random" in op or "PyFunc" in op}


def test_warm_up_records_are_of_every_batch_size_and_run(version: Path, signatures: dict[str, LoadedSignature]) -> None:
    sizes = {"pixels": [], "serving_default": []}  # type: dict[str, list[int]]
    for request in read_warmup(version):
        assert request.model_spec.name == "drug_detector"
        ((_, tensor),) = request.inputs.items()
        sizes[request.model_spec.signature_name].append(tensor.tensor_shape.dim[0].size)
    assert sizes == {"pixels": list(BATCH_SIZES), "serving_default": [1]}
    assert replay_warmup(version, signatures) == 7


def test_a_warm_up_record_that_fails_is_found(
    tmp_path: Path, version: Path, signatures: dict[str, LoadedSignature]
) -> None:
    request = next(read_warmup(version))
    request.inputs["pixels"].string_val[0] = b"short"
    broken = PredictionLog()
    broken.predict_log.request.CopyFrom(request)
    (tmp_path / WARMUP_FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / WARMUP_FILE)) as writer:
        writer.write(broken.SerializeToString())
    with pytest.raises(ContractError, match="warm-up record 1 .* fails"):
        replay_warmup(tmp_path, signatures)


def test_the_version_directory_holds_what_reviewers_and_servers_need(version: Path) -> None:
    facts = read_facts(version)
    assert json.loads((version / "labels.json").read_text()) == {"labels": list(LABELS), "score_of": "drugs"}
    assert json.loads((version / "metrics.json").read_text())["threshold"] == facts.threshold
    assert facts.manifest_digest in (version / "model_card.md").read_text()
    assert {example.image.label for example in read_golden(version)} == set(LABELS)
    assert all(path.stat().st_mode & 0o004 for path in version.rglob("*") if path.is_file())


def test_the_decoder_s_difference_is_that_of_the_original_images(
    version: Path, trained_run: Run, signatures: dict[str, LoadedSignature]
) -> None:
    manifest = read_manifest(trained_run.workdir.manifest)
    chosen = choose_golden(manifest.of(Split.TEST), open_source(manifest.source), ImageSettings())
    by_pixels = scores(signatures["pixels"], pixels=[one.golden.pixels.tobytes() for one in chosen])
    by_file = scores(signatures["serving_default"], image_bytes=[one.original for one in chosen])
    assert read_facts(version).decoder_difference == pytest.approx(float(np.max(np.abs(by_file - by_pixels))), abs=1e-5)


def test_a_version_holds_no_more_of_a_picture_than_a_model_sees_of_it(version: Path, trained_run: Run) -> None:
    for example in read_golden(version):
        with Image.open(io.BytesIO(example.image.encoded)) as picture:
            assert picture.size == (IMAGE_SIDE, IMAGE_SIDE)
            assert not picture.getexif() and "exif" not in picture.info
            distance = np.abs(np.asarray(picture.convert("RGB")).astype(int) - example.image.pixels).mean()
            assert distance < (1e-9 if example.image.suffix == ".png" else 8)
    assert not (version / "report.html").exists()
    manifest = read_manifest(trained_run.workdir.manifest)
    keys = {entry.key.encode() for split in Split for entry in manifest.of(split)}
    # 240 keys in 100 MB of weights: where one ends is looked for, which are few places.
    ends, longest = {key[-4:] for key in keys}, max(map(len, keys))
    for path in (path for path in version.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert b"data:image" not in data, path
        for place in (found.end() for end in ends for found in re.finditer(re.escape(end), data)):
            assert not any(data[max(place - longest, 0) : place].endswith(key) for key in keys), path


def test_warm_up_records_are_drawn_and_have_the_shapes_that_are_served(version: Path, trained_run: Run) -> None:
    manifest = read_manifest(trained_run.workdir.manifest)
    source = open_source(manifest.source)
    originals = [source.read(entry.key) for split in Split for entry in manifest.of(split)]
    users = {decode(data).tobytes() for data in originals} | set(originals)
    users |= {example.image.encoded for example in read_golden(version)}
    for request in read_warmup(version):
        ((name, tensor),) = request.inputs.items()
        assert not users & set(tensor.string_val)
        if name == "pixels":
            assert {len(one) for one in tensor.string_val} == {PIXEL_BYTES}
            assert len(set(tensor.string_val)) == len(tensor.string_val)
        else:
            with Image.open(io.BytesIO(tensor.string_val[0])) as picture:
                assert (picture.size, picture.format) == ((1024, 768), "JPEG")


@pytest.mark.parametrize("served", [[0.5, 0.50002], [0.5, float("nan")]])
def test_scores_that_differ_from_the_trained_ones_are_a_broken_contract(served: list[float]) -> None:
    with pytest.raises(ContractError, match="not published"):
        check_parity(np.array([0.5, 0.5], np.float32), np.array(served, np.float32))


def test_scores_within_the_tolerance_pass() -> None:
    check_parity(np.array([0.5, 0.5], np.float32), np.array([0.500009, 0.499991], np.float32))


def copied(run: Run, folder: Path) -> Run:
    shutil.copytree(run.workdir.path, folder)
    return dataclasses.replace(run, workdir=Workdir(folder))


def export_flags(run: Run, base: Path) -> list[str]:
    return [*run.workdir_flags, "--model-base-path", str(base)]


@pytest.fixture
def reserved(
    trained_run: Run, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """A copy of the run that the gate blessed with a database: version 1 is reserved for it."""
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    run = copied(trained_run, tmp_path / "run")
    # Whatever the model is worth, the verdict is an overridden one.
    override = ["--override-by", "the tests", "--override-reason", "trained on few images"]
    assert gate.main([*run.flags, "--min-pr-auc", "1.01", *override]) == 0
    return run


def test_an_export_takes_the_reserved_version_and_is_registered_once(
    reserved: Run, exported_model: Path, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "models"
    shutil.copytree(exported_model, base)
    # Published before the database was there: the rerun only registers.
    for _ in range(2):
        capsys.readouterr()
        assert export.main(export_flags(reserved, base)) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["version"], printed["path"]) == (1, str(base / "1"))
    facts = read_facts(base / "1")
    with Database(DatabaseSettings(database_url)) as database:
        record, verdict = database.models.get(1), database.models.verdict(1)
    assert record is not None
    assert (record.digest, record.threshold, record.status) == (facts.digest, facts.threshold, ModelStatus.BLESSED)
    assert verdict is not None and verdict.overridden_by == "the tests"


def test_a_reserved_version_that_another_model_has_is_refused(
    reserved: Run, exported_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "models"
    shutil.copytree(exported_model, base)
    facts = json.loads((base / "1" / FACTS_FILE).read_text())
    (base / "1" / FACTS_FILE).write_text(json.dumps({**facts, "head_digest": "0" * 64}))
    assert export.main(export_flags(reserved, base)) == 2
    assert "holds another model" in capsys.readouterr().err
    assert published_versions(base) == [1]


def test_a_rejected_model_is_not_exported(trained_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copied(trained_run, tmp_path / "run")
    verdict = json.loads(run.workdir.verdict.read_text())
    run.workdir.verdict.write_text(json.dumps({**verdict, "blessed": False, "reasons": ["ROC-AUC 0.5 is below 0.9"]}))
    assert export.main([*export_flags(run, tmp_path / "models"), "--no-register"]) == 2
    assert "rejected this model (ROC-AUC 0.5 is below 0.9)" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("change", ["missing", "earlier", "threshold"])
def test_without_a_verdict_on_this_candidate_nothing_is_exported(
    trained_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    run = copied(trained_run, tmp_path / "run")
    if change == "missing":
        run.workdir.verdict.unlink()
    elif change == "earlier":
        verdict = json.loads(run.workdir.verdict.read_text())
        run.workdir.verdict.write_text(json.dumps({**verdict, "candidate_digest": "0" * 64}))
    else:
        # Evaluated again for another night, after the gate.
        metrics = json.loads(run.workdir.metrics.read_text())
        run.workdir.metrics.write_text(json.dumps({**metrics, "threshold": 0.9 * metrics["threshold"]}))
    assert export.main([*export_flags(run, tmp_path / "models"), "--no-register"]) == 2
    assert "sniffer model gate" in capsys.readouterr().err


def test_without_a_database_nothing_is_published(
    reserved: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SNIFFER_DATABASE_URL", raising=False)
    assert export.main(export_flags(reserved, tmp_path / "models")) == 2
    assert "SNIFFER_DATABASE_URL is not set" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_another_backbone_than_trained_with_is_refused_and_nothing_is_published(
    trained_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(trained_run, tmp_path / "run")
    training = dataclasses.replace(read_training(run.workdir), backbone_digest="0" * 64)
    write_training(training, run.workdir)
    metrics = read_json(run.workdir.metrics, ModelMetrics, made_by="sniffer model evaluate")
    metrics = dataclasses.replace(metrics, training_digest=training.digest)
    write_json(run.workdir.metrics, metrics)
    verdict = json.loads(run.workdir.verdict.read_text())
    write_json(run.workdir.verdict, {**verdict, "candidate_digest": candidate_digest(metrics)})
    assert export.main([*export_flags(run, tmp_path / "models"), "--no-register"]) == 2
    assert "is not what was trained with" in capsys.readouterr().err
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.slow
def test_two_processes_export_the_same_training_to_the_same_bytes(trained_run: Run, tmp_path: Path) -> None:
    bases = [tmp_path / name for name in ("one", "two")]
    for base in bases:
        with Program("sniffer_model.export.export", *export_flags(trained_run, base), "--no-register") as program:
            assert program.wait(120) == 0
    assert read_facts(bases[0] / "1") == read_facts(bases[1] / "1")


@pytest.mark.slow
def test_an_export_killed_half_way_leaves_nothing_to_load(trained_run: Run, tmp_path: Path) -> None:
    import signal

    from support.programs import eventually

    base = tmp_path / "models"
    with Program("sniffer_model.export.export", *export_flags(trained_run, base), "--no-register") as program:
        eventually(lambda: list(base.glob(".staging-*/*")), "the model is being written")
        program.signal(signal.SIGKILL)
        program.process.wait(10)
    assert published_versions(base) == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "program",
    [
        "sniffer_model.data.snapshot",
        "sniffer_model.training.train",
        "sniffer_model.evaluation.evaluate",
        "sniffer_model.gate",
        "sniffer_model.export.export",
    ],
)
def test_every_program_explains_itself_quickly(program: str) -> None:
    with Program(program, "--help") as running:
        assert running.wait(10) == 0
    assert running.out[0].startswith("usage: sniffer model ")
