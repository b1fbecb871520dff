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
THREE, FIVE = "3" * 64, "5" * 64


@st.composite
def aspirations(draw: st.DrawFn) -> Aspired:
    loaded = draw(st.sets(versions, min_size=1, max_size=5))
    labels = draw(st.dictionaries(st.text(min_size=1, max_size=8), st.sampled_from(sorted(loaded)), max_size=3))
    digests = draw(st.dictionaries(st.sampled_from(sorted(loaded)), st.sampled_from([THREE, FIVE])))
    return Aspired(tuple(sorted(loaded)), labels, digests)


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
    assert aspired.beside(5, FIVE) == Aspired((3, 4, 5), {"stable": 3, "canary": 4}, {5: FIVE})
    assert aspired.labelled(stable=4, canary=None) == Aspired.of([3, 4], stable=4)


def test_a_version_that_leaves_takes_its_labels_and_its_digest_along() -> None:
    aspired = Aspired((3, 4, 5), {"stable": 3, "canary": 5, "verified": 5, "mine": 4}, {3: THREE, 5: FIVE})
    assert aspired.without([5]) == Aspired((3, 4), {"stable": 3, "mine": 4}, {3: THREE})
    assert aspired.tidied({3, 4}, None, 3) == Aspired((3, 4), {"stable": 3}, {3: THREE})
    assert aspired.tidied({3}, 5, 3) == Aspired((3, 5), {"stable": 3, "canary": 5, "verified": 5}, {3: THREE, 5: FIVE})
    # A promotion that was killed had moved the label already.
    moved = Aspired.of([3, 5], stable=5)
    assert moved.tidied({3}, None, 3) == Aspired.of([3], stable=3)
    assert moved.tidied({3}, 5, 3) == moved


def test_states_of_a_release_without_digests_are_read() -> None:
    old = parse_aspired('{"versions":[3],"labels":{"stable":3}}', "here")
    assert old == Aspired.of([3], stable=3)
    assert "digests" not in old.json()
    assert old.with_digests({3: THREE, 4: FIVE}) == Aspired((3,), {"stable": 3}, {3: THREE})


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
        '{"versions":[1],"labels":{},"digests":[]}',
        '{"versions":[1],"labels":{},"digests":{"1":"short"}}',
        '{"versions":[1],"labels":{},"digests":{"1":7}}',
        f'{{"versions":[1],"labels":{{}},"digests":{{"2":"{THREE}"}}}}',
        "[" * 100_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_aspired(text, "aspired.json")


def test_a_missing_file_means_that_nothing_was_rolled_out(tmp_path: Path) -> None:
    assert read_aspired(tmp_path / "aspired.json") == Aspired()
