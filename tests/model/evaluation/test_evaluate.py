"""Evaluation as a program: the files, what they rest on, and the page that people read."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.training import NIGHT, Run

from sniffer_model.data.manifest import Split, read_manifest, write_manifest
from sniffer_model.evaluation import evaluate
from sniffer_model.workdir import Workdir, read_training, write_training

VOID = {"meta", "img", "br", "input"}
SHAPES = {"svg", "path", "text", "polygon", "polyline", "circle", "rect", "title"}


class Page(HTMLParser):
    """Every tag with its attributes, the text, and whether each tag was closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.styles = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.styles += data
        else:
            self.text += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def page(trained_run: Run) -> Page:
    return Page(trained_run.workdir.report.read_text())


@pytest.fixture(scope="module")
def document(trained_run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(trained_run.workdir.metrics.read_text())
    return found


def evaluated(run: Run, folder: Path, *flags: str) -> dict[str, Any]:
    """The metrics of a copy of the run, evaluated with these flags."""
    shutil.copytree(run.workdir.path, folder)
    again = dataclasses.replace(run, workdir=Workdir(folder))
    assert evaluate.main([*again.flags, *flags]) == 0
    found: dict[str, Any] = json.loads(again.workdir.metrics.read_text())
    return found


def test_the_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    assert not page.of("script") + page.of("link") + page.of("iframe") + page.of("object")
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "data", "action"):
                assert (value or "").startswith("data:image/jpeg;base64,"), (tag, name)
    assert "://" not in page.styles + page.text
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    policies = [meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_the_mistakes_are_shown_blurred_until_somebody_asks_for_them(page: Page, document: dict[str, Any]) -> None:
    counts = document[Split.TEST]["confusion"]
    shown = min(counts["false_negatives"], 12) + min(counts["false_positives"], 12)
    assert shown > 0
    assert len(page.of("img")) == shown
    assert all(image["alt"] for image in page.of("img"))
    boxes = [attributes for attributes in page.of("input") if (attributes.get("aria-label") or "").startswith("Show ")]
    assert len(boxes) == shown
    assert "filter: blur(16px)" in page.styles
    assert ".thumb:hover img, .thumb input:checked ~ img, body:has(#show-all:checked) .thumb img" in page.styles


def test_a_screen_reader_and_a_keyboard_get_all_of_it(page: Page) -> None:
    assert page.of("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert page.of("th") and all(cell.get("scope") in ("col", "row") for cell in page.of("th"))
    assert len(page.of("caption")) == len(page.of("table")) > 4
    captions = {caption["id"] for caption in page.of("caption")}
    regions = [attributes for attributes in page.of("div") if attributes.get("class") == "scroll"]
    assert {region["aria-labelledby"] for region in regions} == captions
    assert {(region["role"], region["tabindex"]) for region in regions} == {("region", "0")}


def test_the_page_begins_with_the_verdict_and_the_scores(page: Page, document: dict[str, Any]) -> None:
    assert page.text.index("Judged on") < page.text.index("Scores of ") < page.text.index("Key figures")
    recall = document[Split.TEST]["recall"]
    assert f"At or above the threshold are {recall:.1%} of drugs and " in page.text
    bars = [attributes for attributes in page.of("rect") if (attributes.get("class") or "").startswith("bar ")]
    assert len(bars) == 50


def test_the_page_suits_dark_and_light(page: Page) -> None:
    assert "prefers-color-scheme: dark" in page.styles
    assert [meta["content"] for meta in page.of("meta") if meta.get("name") == "color-scheme"] == ["light dark"]
    drawn = [attributes for tag, attributes in page.tags if tag in SHAPES]
    assert not any("fill" in attributes or "stroke" in attributes for attributes in drawn)


def test_the_page_says_what_the_metrics_say_and_of_which_data(page: Page, document: dict[str, Any]) -> None:
    test = document[Split.TEST]
    for value in (test["pr_auc"], test["roc_auc"], test["recall"], test["log_loss"]):
        assert f"{value:.3f}" in page.text
    for digest in (document["manifest_digest"], document["training_digest"], document["backbone"]["digest"]):
        assert digest in page.text
    assert f"bootstrap seed {document['bootstrap']['seed']}" in page.text
    assert document["threshold_rule"] in page.text
    assert "random (never trained" in page.text
    assert len(page.of("svg")) == 4
    assert all(svg["aria-label"] for svg in page.of("svg"))


def test_figures_have_intervals_that_hold_them(document: dict[str, Any]) -> None:
    for split in (Split.VALIDATION, Split.TEST):
        figures = document[split]
        for name, ends in figures["intervals"].items():
            if ends is not None:
                # The calibration error is never negative, so that draws lie above it as a rule.
                assert ends[0] <= figures[name] <= ends[1] or name.startswith("calibration_error")
        assert sum(row["images"] for row in figures["slices"]) == figures["images"]
        assert sum(row["images"] for row in figures["reliability"]) == figures["images"]
        assert document["threshold"] in [row["threshold"] for row in figures["thresholds"]]


def test_the_same_seed_repeats_every_byte_and_another_moves_only_intervals(
    trained_run: Run, document: dict[str, Any], tmp_path: Path
) -> None:
    assert evaluated(trained_run, tmp_path / "same", *NIGHT) == document
    for name in ("model_card.md", "metrics.json"):
        assert (tmp_path / "same" / name).read_bytes() == (trained_run.workdir.path / name).read_bytes()
    # The gate has judged the one run, and not the other.
    pages = [(folder / "report.html").read_text() for folder in (tmp_path / "same", trained_run.workdir.path)]
    first, second = (re.sub("<!-- verdict -->.*<!-- /verdict -->", "", page, flags=re.DOTALL) for page in pages)
    assert "Not judged yet" in pages[0]
    assert first == second
    other = evaluated(trained_run, tmp_path / "other", *NIGHT, "--seed", "7", "--resamples", "200")
    assert other["bootstrap"] == {"seed": 7, "resamples": 200, "confidence": 0.95}
    assert other[Split.TEST]["intervals"] != document[Split.TEST]["intervals"]
    for name in ("pr_auc", "roc_auc", "recall", "confusion"):
        assert other[Split.TEST][name] == document[Split.TEST][name]


def test_copies_of_held_out_images_are_judged_once(trained_run: Run, document: dict[str, Any], tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    shutil.copytree(trained_run.workdir.path, workdir.path)
    manifest = read_manifest(workdir.manifest)
    held_out = [entry for entry in manifest.entries if entry.split is not Split.TRAIN]
    copies = [dataclasses.replace(entry, key=f"{entry.key}-{number}") for entry in held_out for number in range(4)]
    entries = tuple(sorted((*manifest.entries, *copies), key=lambda entry: entry.key))
    crowded = dataclasses.replace(manifest, entries=entries)
    workdir.manifest.unlink()
    write_manifest(crowded, workdir.manifest)
    write_training(dataclasses.replace(read_training(workdir), manifest_digest=crowded.digest()), workdir)
    assert evaluate.main([*dataclasses.replace(trained_run, workdir=workdir).flags, *NIGHT]) == 0
    found = json.loads(workdir.metrics.read_text())
    for split in (Split.VALIDATION, Split.TEST):
        images = document[split]["images"]
        assert document[split]["near_duplicates"] == 0
        assert found[split] == document[split] | {"near_duplicates": 4 * images}
    assert f"{4 * document[Split.TEST]['images']} more test images are near-duplicates" in workdir.report.read_text()


def test_a_capacity_chooses_the_threshold_by_flags_per_night(trained_run: Run, tmp_path: Path) -> None:
    flags = ["--prevalence", "0.2", "--nightly-volume", "1000", "--capacity", "600"]
    document = evaluated(trained_run, tmp_path / "run", *flags)
    assert document["threshold_by"] == "capacity"
    assert "at most 600" in document["threshold_rule"]
    assert document["threshold_rule_kept"]
    assert document["review"] == {"prevalence": 0.2, "nightly_volume": 1000, "capacity": 600.0}
    night = document[Split.VALIDATION]["night"]
    assert night["flags_per_night"]["value"] <= 600
    assert night["right"]["value"] + night["missed"]["value"] == pytest.approx(200)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prevalence", "0"], "--prevalence must be between 0 and 1"),
        (["--nightly-volume", "-5"], "--nightly-volume must be above 0"),
        (["--capacity", "0"], "--capacity must be above 0"),
        (["--target-precision", "1.1"], "--target-precision must be above 0"),
        (["--resamples", "3"], "--resamples must be at least 100"),
        (["--seed", "-1"], "--seed must not be negative"),
    ],
)
def test_flags_that_cannot_be_are_refused_and_nothing_is_written(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(["--workdir", str(tmp_path / "w"), "--feature-cache", str(tmp_path / "f"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
