"""The facts of a model version that was never trained, for tests that publish or name one."""

from __future__ import annotations

from sniffer.core.model_records import LABELS, PIXELS_SIGNATURE, ModelFacts

FACTS = ModelFacts(
    version=0,
    digest="d" * 64,
    backbone_digest="b" * 64,
    backbone_weights="random",
    head_digest="h" * 64,
    preprocessing_version="1",
    threshold=0.5,
    manifest_digest="m" * 64,
    labels=LABELS,
    signatures=(PIXELS_SIGNATURE, "serving_default"),
    exporter="1",
)
