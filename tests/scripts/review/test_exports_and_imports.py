"""What waits goes out in three forms, and decisions come back: nothing is a formula, nothing is guessed."""

from __future__ import annotations

import base64
import csv
import io
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sniffer.core.errors import SettingsError
from sniffer.core.review_records import EnteredBy, ImportedDecision, QueueItem, Reason, ReviewDecision
from sniffer.review.exports import LABELING_CONFIG, MOST_COOP_ITEMS, as_coop, as_csv, as_label_studio, coop_id
from sniffer.review.imports import decisions_of_coop, decisions_of_csv, decisions_of_label_studio, decisions_of_webhook
from sniffer.review.signatures import TOLERANCE_S, ForgedMessage, sign, verify, verify_coop
from sniffer.review.spreadsheets import csv_text, plain_cell, safe_cell

WHEN = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
SECRET = "s" * 32
NOW = 1_795_000_000.0


def item(image_id: int, key: str = "a.jpg", content: bytes | None = b"c" * 32) -> QueueItem:
    return QueueItem(
        image_id, "bkt", key, "e1", 9, WHEN, content, 0.9, 0.5, 1, None, EnteredBy.SAMPLE, 0.01, is_replaced=False
    )


@settings(max_examples=40, deadline=None)
@given(st.text())
def test_no_cell_is_a_formula_and_none_is_changed_by_the_way(text: str) -> None:
    cell = safe_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\0"))
    assert plain_cell(cell) == text


def test_a_table_goes_out_and_comes_back() -> None:
    keys = ['=HYPERLINK("//evil")', 'a,b\n"c"', "'quoted", "+1", "-x", "@SUM(A1)", "ünï.jpg"]
    text = as_csv(item(number, key) for number, key in enumerate(keys, start=1))
    assert "0.9" not in text and "sample" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [plain_cell(row["key"]) for row in rows] == keys
    assert not any(row["key"].startswith(("=", "+", "-", "@")) for row in rows)
    rows[0] |= {"decision": "drug", "reason": "cannabis", "note": "'=1+1"}
    rows[1] |= {"decision": "not_drug", "reviewer": "bob"}
    filled = csv_text(list(rows[0]), (list(row.values()) for row in rows), is_safe=False)
    assert decisions_of_csv("\ufeff" + filled, reviewer="ann") == [
        ImportedDecision(1, ReviewDecision.DRUG, "ann", Reason.CANNABIS, "=1+1", b"c" * 32),
        ImportedDecision(2, ReviewDecision.NOT_DRUG, "bob", None, "", b"c" * 32),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column image_id, decision"),
        ("", "no column"),
        ('image_id,decision\n"1,drug\n', "cannot be read near line"),
        ("image_id,decision,reason\n1,drug,\n", "line 2: `drug` needs a reason"),
        ("image_id,decision,reason\n1,not_drug,other\n", "nothing else may have one"),
        ("image_id,decision,note,reviewer\n1,unsure,seen, twice,jo\n", "line 2 of the table has more cells than"),
        ("image_id,decision,decision\n1,unsure,drug\n", "has two columns decision"),
        ("image_id,decision,Decision \n1,unsure,drug\n", "has two columns decision"),
        ("image_id,decision\n1,maybe\n", "'maybe' is no decision: use drug, not_drug, unsure, withdrawn"),
        ("image_id,decision,reason\n1,drug,fun\n", "'fun' is no reason"),
        ("image_id,decision\n-1,unsure\n", "is no image_id"),
        ("image_id,decision\n1,unsure\n1,not_drug\n", "line 3: image 1 has a decision already"),
        ("image_id,decision,content_sha256\n1,unsure,zz\n", "no SHA-256"),
        ("image_id,decision,note\n1,unsure," + "x" * 2001 + "\n", "over 2,000 characters"),
    ],
)
def test_a_wrong_table_is_refused_as_a_whole_with_its_rows(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match="(?s)" + said.replace("(", r"\(")):
        decisions_of_csv(text, reviewer="ann")


def test_whose_a_decision_is_must_be_said() -> None:
    with pytest.raises(SettingsError, match="is no name of a reviewer"):
        decisions_of_csv("image_id,decision\n1,unsure\n", reviewer="ann\0")
    with pytest.raises(SettingsError, match="names no reviewer"):
        decisions_of_csv("image_id,decision\n1,unsure\n")


def test_label_studio_gets_tasks_and_its_export_comes_back() -> None:
    tasks = json.loads(as_label_studio([item(1), item(2), item(3)]))
    assert tasks[0]["data"]["image"] == "s3://bkt/a.jpg" and "predictions" not in tasks[0]
    assert all(f'value="{each}"' in LABELING_CONFIG for each in [*Reason, "drug", "not_drug", "unsure"])
    scored = json.loads(as_label_studio([item(1)], with_scores=True))[0]["predictions"][0]
    assert (scored["score"], scored["model_version"]) == (0.9, "1")
    choice = [{"from_name": "decision", "to_name": "image", "type": "choices", "value": {"choices": ["not_drug"]}}]
    drug = [
        {"from_name": "decision", "type": "choices", "value": {"choices": ["drug"]}},
        {"from_name": "reason", "type": "choices", "value": {"choices": ["cannabis"]}},
        {"from_name": "note", "type": "textarea", "value": {"text": ["a", "b"]}},
    ]
    assert scored["result"][0] | {"value": choice[0]["value"]} == choice[0]
    tasks[0]["annotations"] = [
        {"result": choice, "completed_by": {"email": "bob@example.com"}, "updated_at": "2026-11-26T10:00:00Z"},
        {"result": drug, "completed_by": 7, "updated_at": "2026-11-26T11:00:00Z"},
        {"result": choice, "was_cancelled": True, "updated_at": "2026-11-26T12:00:00Z"},
    ]
    tasks[1]["annotations"] = [{"result": choice, "completed_by": {"email": "bob@example.com"}}]
    assert decisions_of_label_studio(json.dumps(tasks)) == [
        ImportedDecision(1, ReviewDecision.DRUG, "7", Reason.CANNABIS, "a\nb", b"c" * 32),
        ImportedDecision(2, ReviewDecision.NOT_DRUG, "bob@example.com", None, "", b"c" * 32),
    ]
    whole = '[{"data": {"image_id": 1}, "annotations": %s}]'
    for wrong in (
        "{}",
        "[" * 5000,
        '[{"data": [1]}]',
        *(whole % each for each in ('"x"', "[7]", '[{"result": "abc"}]', '[{"result": [{"value": "drug"}]}]')),
        whole % '[{"result": [{"from_name": "decision", "value": {"choices": "drug"}}]}]',
    ):
        with pytest.raises(SettingsError, match="no JSON export"):
            decisions_of_label_studio(wrong)


def test_coop_gets_items_and_its_action_comes_back() -> None:
    items = [item(number) for number in range(1, MOST_COOP_ITEMS + 2)]
    first, second = map(json.loads, as_coop(items, "type-1", [f"https://s3/{each.image_id}" for each in items]))
    assert (len(first["items"]), len(second["items"])) == (MOST_COOP_ITEMS, 1)
    one = first["items"][0]
    assert (one["id"], one["typeId"], one["data"]["images"]) == (coop_id(items[0]), "type-1", ["https://s3/1"])
    assert one["data"]["last_modified"] == "2026-11-20T12:30:00.000Z"
    action = {
        "item": {"id": one["id"], "typeId": "type-1"},
        "action": {"id": "a1"},
        "policies": [],
        "custom": {"decision": "drug", "reason": "cannabis"},
        "actorEmail": "mod@example.com",
        "actorNote": "seen",
    }
    assert decisions_of_coop(json.dumps(action).encode()) == [
        ImportedDecision(1, ReviewDecision.DRUG, "mod@example.com", Reason.CANNABIS, "seen", b"c" * 32)
    ]
    assert decisions_of_coop(json.dumps(action | {"actorEmail": None}).encode())[0].reviewer == "coop"
    del action["actorEmail"], action["custom"]
    with pytest.raises(SettingsError, match="custom parameter `decision`"):
        decisions_of_coop(json.dumps(action).encode())
    with pytest.raises(SettingsError, match="no callback"):
        decisions_of_coop(b"[]")


def test_a_webhook_s_body() -> None:
    body = {"reviewer": "tool", "decisions": [{"image_id": 5, "decision": "not_drug"}]}
    assert decisions_of_webhook(json.dumps(body).encode()) == [ImportedDecision(5, ReviewDecision.NOT_DRUG, "tool")]
    for wrong in (
        b"",
        b"{}",
        b'{"decisions": [{"image_id": "x", "decision": "unsure"}]}',
        b'{"decisions": [], "x": 1}',
    ):
        with pytest.raises(SettingsError, match="not what the webhook takes"):
            decisions_of_webhook(wrong)


def test_only_what_is_signed_and_new_is_believed() -> None:
    header = sign(b"body", SECRET, NOW)
    message = verify(b"body", header, SECRET, NOW + TOLERANCE_S)
    assert message.sent_at == datetime.fromtimestamp(NOW, UTC) and len(message.submit_key) == 64
    for body, signature, secret, now in (
        (b"other", header, SECRET, NOW),
        (b"body", header, "t" * 32, NOW),
        (b"body", header, SECRET, NOW + TOLERANCE_S + 1),
        (b"body", header, SECRET, NOW - TOLERANCE_S - 1),
        (b"body", header.replace("t=1", "t=2"), SECRET, NOW + 1_000_000_000),
        (b"body", "", SECRET, NOW),
        (b"body", header.upper(), SECRET, NOW),
    ):
        with pytest.raises(ForgedMessage):
            verify(body, signature, secret, now)
    with pytest.raises(SettingsError, match="at least 32 characters"):
        verify(b"body", header, "short", NOW)


def test_coop_s_signature_is_checked_with_its_public_key() -> None:
    key = generate_private_key(65537, 2048)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    header = base64.b64encode(key.sign(b"body", PKCS1v15(), SHA256())).decode()
    assert verify_coop(b"body", header, pem) == verify_coop(b"body", header, pem)
    for body, signature in ((b"other", header), (b"body", "AAAA"), (b"body", "no base64!")):
        with pytest.raises(ForgedMessage):
            verify_coop(body, signature, pem)
    with pytest.raises(SettingsError, match="no public key in PEM"):
        verify_coop(b"body", header, "nonsense")
