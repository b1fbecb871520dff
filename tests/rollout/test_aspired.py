"""What is aspired: its JSON, and the config file as the model server itself reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sniffer.core.errors import ContractError
from sniffer.core.model_records import MODEL_NAME
from sniffer_rollout.aspired import Aspired, parse_aspired, read_aspired
from sniffer_serve.config import ModelEntry, parse_model_config
from sniffer_serve.versions import Specific

versions = st.integers(1, 2**31)


@st.composite
def aspirations(draw: st.DrawFn) -> Aspired:
    loaded = draw(st.sets(versions, min_size=1, max_size=5))
    labels = draw(st.dictionaries(st.text(min_size=1, max_size=8), st.sampled_from(sorted(loaded)), max_size=3))
    return Aspired(tuple(sorted(loaded)), labels)


@given(aspirations(), st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1))
def test_the_model_server_reads_what_is_aspired(aspired: Aspired, folder: str) -> None:
    base = Path("/models") / folder
    assert parse_model_config(aspired.server_config(base)) == [
        ModelEntry(MODEL_NAME, base, Specific(frozenset(aspired.versions)), dict(aspired.labels))
    ]
    assert parse_aspired(aspired.json(), "here") == aspired


def test_nothing_aspired_is_an_empty_list_of_models() -> None:
    assert parse_model_config(Aspired().server_config(Path("/models"))) == []
    assert parse_aspired(Aspired().json(), "here") == Aspired()


def test_the_file_has_the_form_that_others_may_write() -> None:
    aspired = Aspired.of([4, 3], stable=3, canary=4)
    assert parse_aspired('{"versions":[3,4],"labels":{"stable":3,"canary":4}}', "here") == aspired
    assert aspired.beside(5) == Aspired.of([3, 4, 5], stable=3, canary=4)
    assert aspired.labelled(stable=4, canary=None) == Aspired.of([3, 4], stable=4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"versions":[1]}',
        '{"versions":["1"],"labels":{}}',
        '{"versions":[true],"labels":{}}',
        '{"versions":[2,1],"labels":{}}',
        '{"versions":[1,1],"labels":{}}',
        '{"versions":[0],"labels":{}}',
        '{"versions":[1],"labels":{"stable":2}}',
        '{"versions":1,"labels":{}}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_aspired(text, "aspired.json")


def test_a_missing_file_means_that_nothing_was_rolled_out(tmp_path: Path) -> None:
    assert read_aspired(tmp_path / "aspired.json") == Aspired()
