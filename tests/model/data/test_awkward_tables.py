"""Tables as people and programs write them: each cell is what it says, or its row is named."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from sniffer.core.errors import SettingsError
from sniffer.core.settings import fetch_settings
from sniffer_model.data.label_table import _labelled
from sniffer_model.data.manifest import LabelledSet
from sniffer_model.data.table_files import table_files

HEADER = "bucket,key,label\n"
NFC, NFD = (unicodedata.normalize(form, "caf\u00e9.jpg") for form in ("NFC", "NFD"))


def labelled(tmp_path: Path, text: str | bytes) -> LabelledSet:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return _labelled(table_files(str(path), fetch_settings()), str(path))


@pytest.mark.parametrize("start", "=+-@\t")
def test_a_key_that_a_spreadsheet_would_take_for_a_formula_is_a_key(start: str, tmp_path: Path) -> None:
    found = labelled(tmp_path, f'{HEADER}b,"{start}1+1.jpg",drugs\n')
    assert [image.key for image in found.images] == [f"s3://b/{start}1+1.jpg"]
    with pytest.raises(SettingsError, match="is not a class of this model"):
        labelled(tmp_path, f'{HEADER}b,k,"={start}drugs"\n')


@pytest.mark.parametrize(("one", "other"), [(NFC, NFD), ("A.jpg", "a.jpg"), ("stra\u00dfe", "STRASSE"), ("k", "k ")])
def test_keys_that_look_alike_are_two_objects(one: str, other: str, tmp_path: Path) -> None:
    found = labelled(tmp_path, f"{HEADER}b,{one},drugs\nb,{other},other\n")
    assert {image.key: image.label for image in found.images} == {f"s3://b/{one}": "drugs", f"s3://b/{other}": "other"}
    assert not found.left_out


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"\xef\xbb\xbf" + HEADER.encode() + b"b,k.jpg,drugs\n", "k.jpg"),
        (b"bucket;key;label\nb;k,1.jpg;drugs\n", "k,1.jpg"),
        (b"\xef\xbb\xbfsep=;\r\nBucket;Key;Label\r\nb;k.jpg;drugs\r\n", "k.jpg"),
        (b"Bucket , KEY,label\nb,k.jpg,drugs\n", "k.jpg"),
    ],
    ids=["a mark of UTF-8", "semicolons", "sep=", "capitals and blanks"],
)
def test_usual_forms_are_read(text: bytes, key: str, tmp_path: Path) -> None:
    assert [image.key for image in labelled(tmp_path, text).images] == [f"s3://b/{key}"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEADER + 'b,"k.jpg,drugs\n' + "b,x,other\n" * 99, "line 2 of .*look for a quote that is not closed"),
        (HEADER + "b," + "k" * 1025 + ",drugs\n", "line 2: its key has over 1,024 bytes"),
        (HEADER + "b," + "\u00e9" * 600 + ",drugs\n", "line 2: its key has over 1,024 bytes"),
        (HEADER + "b," + "k" * 5_000_000 + ",drugs\n", "line 2 of .*field larger than field limit"),
        (HEADER + 'b,"' + "k\n" * 1_000_000 + '",drugs\n', "line 2 of .*field larger than field limit"),
        ("bucket,key,label,slice\nb,k,drugs," + "s" * 100_000 + "\n", "line 2: its slice has over 200 characters"),
        ("bucket,key,label,source\nb,k,drugs," + "s" * 201 + "\n", "line 2: its source has over 200 characters"),
        ("bucket,key,KEY ,label\nb,k,k,drugs\n", "more than one column key"),
        (HEADER + "b,k,Drugs\nb,k2,DRUGS\n", "2 of 2 rows .* line 2: 'Drugs' is not a class"),
        (HEADER + "b,k,drugs\u200b\n", "is not a class of this model"),
    ],
    ids=[
        *("an open quote", "a long key", "a long key in UTF-8", "a giant cell", "giant lines", "a giant slice"),
        *("a long source", "a header twice", "capitals", "an invisible character"),
    ],
)
def test_what_cannot_be_is_named_with_its_line_in_few_words(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        labelled(tmp_path, text)
    assert re.search(problem, str(refused.value))
    assert len(str(refused.value)) < 600 and "\n" not in str(refused.value)
