import hashlib
import io
import itertools
import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sniffer.adapters.images.render import decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.model_records import IMAGE_SHAPE, LABELS
from sniffer_local.samples import (
    HOSTILE_KINDS,
    SLICES,
    BucketObject,
    Domain,
    HostileKind,
    SampleImage,
    bucket_objects,
    generate,
    labelled_images,
)
from sniffer_local.samples.generate import Order, draw_sample

DAYS = ("uploads/2026-11-19/", "uploads/2026-11-20/", "uploads/2026-11-21/")
FOLDERS = [str(Path(__file__).parents[3] / folder) for folder in ("scripts", "model")]


@pytest.fixture(scope="module")
def training() -> list[SampleImage]:
    return list(labelled_images(7, 240))


@pytest.fixture(scope="module")
def few() -> list[SampleImage]:
    return list(labelled_images(7, 24))


@pytest.fixture(scope="module")
def bucket() -> list[BucketObject]:
    return list(bucket_objects(7, 160, DAYS))


def digests(images: list[SampleImage]) -> list[str]:
    return [hashlib.sha256(image.data).hexdigest() for image in images]


def test_a_seed_draws_the_same_images_whatever_the_count_and_the_processes(few: list[SampleImage]) -> None:
    assert list(labelled_images(7, 12)) == few[:12]
    assert list(labelled_images(7, 12, processes=2)) == few[:12]


def test_another_seed_draws_other_images(few: list[SampleImage]) -> None:
    assert not set(digests(list(labelled_images(8, 12)))) & set(digests(few))


def test_a_domain_sets_long_sides_and_backdrops(few: list[SampleImage]) -> None:
    plain, stone = (list(labelled_images(7, 8, domain=Domain((kind,), (900, 1400)))) for kind in ("plain", "stone"))
    sides = [max(Image.open(io.BytesIO(image.data)).size) for image in plain + stone]
    assert 900 <= min(sides) <= max(sides) <= 1400
    assert not set(digests(plain)) & set(digests(stone))
    assert [image.slice for image in plain] == [image.slice for image in few[:8]]


@pytest.mark.slow
def test_no_two_training_images_are_the_same(training: list[SampleImage]) -> None:
    assert len(set(digests(training))) == len(training)


@pytest.mark.slow
def test_classes_and_slices_are_balanced(training: list[SampleImage]) -> None:
    counts = Counter((image.label, image.slice) for image in training)
    assert set(counts) == {(label, slice) for label in LABELS for slice in SLICES[label]}
    assert set(counts.values()) == {30}


def test_every_training_image_is_readable_as_what_its_suffix_says(few: list[SampleImage]) -> None:
    formats = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
    for image in few:
        assert Image.open(io.BytesIO(image.data)).format == formats[image.suffix]
        assert decode(image.data).shape == IMAGE_SHAPE


@pytest.mark.slow
def test_sizes_formats_modes_and_turns_vary(training: list[SampleImage]) -> None:
    opened = [Image.open(io.BytesIO(image.data)) for image in training]
    sides = [side for image in opened for side in image.size]
    assert min(sides) >= 200
    assert max(sides) > 1500
    assert {image.mode for image in opened} >= {"RGB", "L", "RGBA"}
    assert len({image.getexif().get(0x0112, 1) for image in opened}) == 8
    assert len({round(image.width / image.height, 1) for image in opened}) >= 6


@pytest.mark.slow
def test_a_turned_image_shows_the_same_upright(training: list[SampleImage]) -> None:
    """Text and horizons are upright after decoding: sky is lighter than ground more often than not."""
    landscapes = [decode(image.data) for image in training if image.slice == "landscape"]
    lighter_above = sum(pixels[:60].mean() > pixels[-60:].mean() for pixels in landscapes)
    assert lighter_above > 0.8 * len(landscapes)


def test_without_what_is_drawn_an_image_is_the_same_whatever_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backdrop, light, size, camera and format know nothing of the class."""
    orders = [[Order(7, 1, index, label, "bare") for label in LABELS] for index in range(12)]
    drawn = [[draw_sample(replace(order, slice=next(iter(SLICES[order.label])))) for order in pair] for pair in orders]
    assert all(other.data != drugs.data for other, drugs in drawn)
    monkeypatch.setattr(generate, "SLICES", {label: {"bare": lambda *_: None} for label in LABELS})
    bare = [[draw_sample(order) for order in pair] for pair in orders]
    assert all(other.data == drugs.data for other, drugs in bare)
    assert len({other.data for other, _ in bare}) == len(bare)


def trivial_features(image: SampleImage) -> list[float]:
    """What can be known of a file without looking at what it shows."""
    width, height = Image.open(io.BytesIO(image.data)).size
    colour = decode(image.data).mean(axis=(0, 1))
    return [*colour, width, height, len(image.data), *(image.suffix == suffix for suffix in (".jpg", ".png", ".webp"))]


@pytest.mark.slow
def test_the_classes_cannot_be_told_by_colour_size_format_or_bytes(training: list[SampleImage]) -> None:
    from sklearn.ensemble import RandomForestClassifier  # which takes seconds, and only here
    from sklearn.model_selection import cross_val_score

    features = np.array([trivial_features(image) for image in training])
    truth = np.array([image.label == "drugs" for image in training])
    guesser = RandomForestClassifier(200, random_state=0)
    # 240 coin tosses stay below 0.6 in 99.9 % of cases; a leak of the class would show as 0.8 and more.
    assert cross_val_score(guesser, features, truth, cv=5).mean() < 0.65
    # The same guesser does find a leak where there is one.
    leaking = np.column_stack([features, truth + np.random.default_rng(0).normal(0, 0.3, len(truth))])
    assert cross_val_score(guesser, leaking, truth, cv=5).mean() > 0.8


def test_the_bucket_has_as_many_objects_as_asked_for_under_different_keys(bucket: list[BucketObject]) -> None:
    assert len(bucket) == 160
    assert len({object.key for object in bucket}) == 160
    assert all(object.key.startswith(DAYS) for object in bucket)
    assert {object.key[: len(DAYS[0])] for object in bucket} == set(DAYS)


def test_the_bucket_is_the_same_each_time(bucket: list[BucketObject]) -> None:
    assert list(itertools.islice(bucket_objects(7, 160, DAYS, processes=2), 20)) == bucket[:20]


def test_the_bucket_shows_drugs_in_about_15_of_100(bucket: list[BucketObject]) -> None:
    labels = Counter(object.label for object in bucket)
    assert 0.12 < labels["drugs"] / (labels["drugs"] + labels["other"]) < 0.18
    kinds = {object.kind for object in bucket}
    assert kinds == {*SLICES["other"], *SLICES["drugs"], *(kind.name for kind in HOSTILE_KINDS)}


@pytest.mark.slow
def test_the_bucket_holds_no_training_image(bucket: list[BucketObject], training: list[SampleImage]) -> None:
    assert not {object.data for object in bucket} & {image.data for image in training}


def test_copies_in_the_bucket_are_equal_byte_for_byte(bucket: list[BucketObject]) -> None:
    keys_of = defaultdict(list)
    for object in bucket:
        keys_of[object.data].append(object.key)
    copies = {data: keys for data, keys in keys_of.items() if data and len(keys) > 1}
    assert len(copies) == 8
    assert all(len(keys) == 2 and sum("copy_" in key for key in keys) == 1 for keys in copies.values())


def test_the_bucket_has_awkward_keys(bucket: list[BucketObject]) -> None:
    keys = {object.key for object in bucket}
    assert any(len(key.encode()) == 1024 for key in keys)
    assert all(len(key.encode()) <= 1024 for key in keys)
    for part in (" ", "%20", "+", "'", '"', "&", "\N{PILL}", "日本"):
        assert any(part in key for key in keys)
    assert any(key.endswith("/") for key in keys)
    folded = Counter(key.casefold() for key in keys)
    assert max(folded.values()) >= 3


def test_the_bucket_has_each_hostile_kind_at_least_twice(bucket: list[BucketObject]) -> None:
    counts = Counter(object.kind for object in bucket)
    assert all(counts[kind.name] >= 2 for kind in HOSTILE_KINDS)


def test_every_object_of_the_bucket_ends_as_its_label_says(bucket: list[BucketObject]) -> None:
    expected = {kind.name: kind.code for kind in HOSTILE_KINDS}
    for object in bucket:
        try:
            decode(object.data)
        except UnreadableImage as error:
            assert object.label is None
            assert error.code == expected[object.kind]
        else:
            assert object.label in LABELS


@pytest.mark.parametrize("kind", HOSTILE_KINDS, ids=lambda kind: kind.name)
def test_a_hostile_file_is_what_its_name_says(kind: HostileKind) -> None:
    data = kind.make(np.random.default_rng(1))
    assert kind.make(np.random.default_rng(1)) == data
    if kind.code is not None:
        with pytest.raises(UnreadableImage) as caught:
            decode(data)
        assert caught.value.code == kind.code
        return
    with Image.open(io.BytesIO(data)) as image:
        described = {"cmyk": image.mode == "CMYK", "animated": getattr(image, "n_frames", 1) > 1}
        described["16-bit"] = image.mode == "I;16"
    assert described[kind.name]
    assert decode(data).std() > 5


def test_the_decompression_bomb_is_small_and_far_over_every_limit() -> None:
    bomb = next(kind for kind in HOSTILE_KINDS if kind.name == "bomb").make(np.random.default_rng(1))
    assert len(bomb) < 100_000
    with pytest.raises(UnreadableImage, match="pixels"):
        decode(bomb, max_pixels=10**9)


@pytest.mark.parametrize(("count", "prefixes"), [(99, DAYS), (300, ())])
def test_a_bucket_too_small_for_its_contents_is_refused(count: int, prefixes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least 100"):
        list(bucket_objects(1, count, prefixes))


def run_samples(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sniffer_local.samples", *arguments]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(FOLDERS)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_the_program_writes_a_folder_per_class(tmp_path: Path, few: list[SampleImage]) -> None:
    done = run_samples("--out", str(tmp_path), "--count", "16", "--seed", "7", "--processes", "2")
    assert (done.returncode, done.stdout) == (0, f"16 images in {tmp_path / 'labels'}\n")
    assert "samples: 16 of 16 images" in done.stderr
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 16
    assert {path.parent.relative_to(tmp_path).as_posix() for path in files} == {"labels/drugs", "labels/other"}
    first = tmp_path / "labels" / few[0].label / f"{few[0].slice}-000000{few[0].suffix}"
    assert first.read_bytes() == few[0].data


@pytest.mark.parametrize("arguments", [("--count", "-1"), ("--count", "many"), ()])
def test_wrong_usage_of_the_program_is_status_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_samples("--out", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line_and_status_1(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = run_samples("--out", str(blocked), "--count", "2")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_drawing_needs_no_tensorflow() -> None:
    program = "import sys, sniffer_local.samples; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(FOLDERS)}
    assert subprocess.run([sys.executable, "-c", program], env=environ, check=False).returncode == 0
