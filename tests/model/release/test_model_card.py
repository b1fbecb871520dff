"""What the model card says of names that somebody else chose."""

from __future__ import annotations

from dataclasses import replace

from support.judged import model_metrics

from sniffer_model.release.model_card import model_card


def test_the_name_of_a_weights_file_is_no_markdown() -> None:
    found = model_metrics()
    card = model_card(replace(found, backbone=replace(found.backbone, weights="file <img src=//x>*.h5\n# Heading")))
    assert r"- Backbone weights: **file \<img src\=//x\>\*.h5 \# Heading**, digest `" in card
