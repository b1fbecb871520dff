"""Whole scans as a user runs them: real processes, S3, model server and MariaDB; what is stored and what is said."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import zmq
from sqlalchemy import create_engine, text
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.fleet import Fleet, counted, jpeg
from support.programs import Program, eventually

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import Certificate
from sniffer.core.settings import DatabaseSettings
from sniffer.scan.messages import PROTOCOL, Hello, Leave
from sniffer.scan.wire import ConsumerSocket
from sniffer_local.processes import free_port

AWKWARD_KEYS = [
    "a b.jpg",
    "emoji 😀.jpg",
    "pct%20.jpg",
    "plus+.jpg",
    "quote'\".jpg",
    "folder/",
    "double//slash.jpg",
    "Case.jpg",
    "case.jpg",
    "k" * 1024,
]


@pytest.mark.both_servers
def test_a_scan_accounts_for_every_object_and_a_second_finds_all_unchanged(
    fleet: Fleet, database_server: DatabaseServer
) -> None:
    """With the rights of its role alone."""
    fleet.environ["SNIFFER_DATABASE_URL"] = url_of(fleet.database_url, "sniffer_scan")
    with users(database_server, fleet.database_url, "sniffer_scan"):
        scan_twice(fleet)


def scan_twice(fleet: Fleet) -> None:
    fleet.fill(30)
    for key in AWKWARD_KEYS:
        fleet.put(key, jpeg(7))
    fleet.put("empty.jpg", b"")
    fleet.put("page.jpg", b"<html><body>Not found</body></html>")
    first = fleet.scan("--consumers=2")
    assert counted(first)["predicted"] + counted(first)["reused"] == 30 + len(AWKWARD_KEYS)
    assert counted(first)["unreadable"] == 2
    assert first.holds and first.listed == len(fleet.keys)
    fleet.assert_every_object_has_one_row()
    second = fleet.scan("--consumers=2")
    assert counted(second) == {"unchanged": len(fleet.keys)}
    assert second.listing_digest == first.listing_digest
    assert fleet.rows("SELECT state, COUNT(*) FROM scans GROUP BY state") == [("complete", 2)]


def test_equal_bytes_are_asked_about_once_and_scores_are_the_models(fleet: Fleet) -> None:
    for i in range(12):
        fleet.put(f"copy {i}.jpg", jpeg(1))
    fleet.put("other.jpg", jpeg(2))
    certificate = fleet.scan("--consumers=1")
    assert counted(certificate) == {"predicted": 2, "reused": 11}
    scores = fleet.rows(
        "SELECT DISTINCT score FROM predictions JOIN images USING (image_id) WHERE object_key LIKE 'copy%'"
    )
    assert len(scores) == 1 and 0.2 < scores[0][0] < 0.8


@pytest.mark.slow
def test_windows_prefixes_and_limits_choose_what_is_listed(fleet: Fleet) -> None:
    fleet.fill(10)
    fleet.put("elsewhere/x.jpg", jpeg(99))
    assert fleet.scan("--prefix=elsewhere/").listed == 1
    assert fleet.scan("--until=2001-01-01").listed == 0
    limited = fleet.scan("--limit=4")
    assert limited.limited and counted(limited)["predicted"] == 4
    assert counted(fleet.scan("--limit=4"))["predicted"] == 4
    rest = fleet.scan("--since=2001-01-01")
    assert counted(rest) == {"unchanged": 9, "predicted": 2}
    fleet.assert_every_object_has_one_row()


def test_a_dry_run_counts_estimates_and_changes_nothing(fleet: Fleet) -> None:
    fleet.fill(5)
    with fleet.start("--dry-run") as program:
        assert program.wait() == 0
    assert "5 listed, 0 unchanged, 5 to score" in program.text()
    assert json.loads(fleet.certificate_path.read_text())["new"] == 5
    assert (fleet.stored(), fleet.rows("SELECT COUNT(*) FROM scans")) == (0, [(0,)])


@pytest.mark.slow
def test_a_rescan_scores_again_and_resumes_by_its_id(fleet: Fleet) -> None:
    fleet.fill(8)
    fleet.scan("--scan-id=first")
    assert counted(fleet.scan("--rescan", "--scan-id=again", "--limit=3")) == {"predicted": 3}
    resumed = fleet.scan("--rescan", "--scan-id=again")
    assert counted(resumed) == {"unchanged": 3, "predicted": 5}
    owners = "SELECT scan_id, COUNT(*) FROM predictions JOIN scans ON number = scan_number GROUP BY scan_id"
    assert fleet.rows(owners) == [("again", 8)]


def test_only_what_failed_is_tried_again(fleet: Fleet) -> None:
    fleet.fill(6)
    fleet.scan()
    ((image_id,),) = fleet.rows("SELECT MIN(image_id) FROM images")
    engine = create_engine(fleet.database_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE predictions SET outcome = 'failed', score = NULL, scored_hash = NULL, error_code = 'fetch', "
                "error_message = 'S3 was away' WHERE image_id = :image_id"
            ),
            {"image_id": image_id},
        )
    engine.dispose()
    assert counted(fleet.scan("--retry-failed")) == {"predicted": 1}
    assert counted(fleet.scan("--retry-failed")) == {}
    fleet.assert_every_object_has_one_row()


def test_an_empty_bucket_and_an_absent_one_are_told_apart(fleet: Fleet) -> None:
    empty = fleet.scan(status=1)
    assert empty.listed == 0
    assert "nothing is listed under s3://" in empty.problems[0]
    assert fleet.scan("--allow-empty").holds
    fleet.fill(1)
    assert fleet.scan("--until=2001-01-01").holds, "a window without an object is an ordinary night"
    assert fleet.scan("--prefix=typo/", status=1).problems
    with Program("sniffer.scan", "--bucket=absent-bucket", environ=fleet.environ) as program:
        assert program.wait() == 2
    assert "bucket 'absent-bucket' at" in program.text() and "does not exist" in program.text()


@pytest.mark.slow
def test_several_consumers_do_what_one_does(fleet: Fleet) -> None:
    fleet.fill(40)
    assert counted(fleet.scan("--consumers=4")) == {"predicted": 40}
    fleet.assert_every_object_has_one_row()


def test_consumers_may_come_before_and_during_the_scan(fleet: Fleet) -> None:
    fleet.fill(60)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    consume = ("sniffer.scan.consume", f"--endpoint={endpoint}")
    with Program(*consume, environ=fleet.environ) as early:
        eventually(lambda: "Traceback" not in early.text() and early.process.poll() is None, "an early consumer waits")
        with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce") as producer:
            eventually(lambda: "joins" in producer.text(), "the early consumer joins")
            with Program(*consume, environ=fleet.environ) as late:
                assert producer.wait() == 0
                assert early.wait() == 0
                late.process.terminate()
                late.wait()
    assert counted(fleet.certificate()) == {"predicted": 60}


def test_a_peer_whose_name_is_no_text_ends_no_scan(fleet: Fleet) -> None:
    # ZeroMQ gives such a name to a connection that another one has replaced.
    fleet.fill(3)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce") as producer:
        with ConsumerSocket(endpoint, b"\x8b\xff") as peer:
            peer.send(Hello(PROTOCOL, "odd", 0))
            eventually(lambda: "odd joins" in producer.text(), "the peer joins")
            peer.send(Leave())
            eventually(lambda: r"\x8b\xff leaves" in producer.text(), "the peer leaves")
        with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=fleet.environ) as consumer:
            assert (producer.wait(), consumer.wait()) == (0, 0)
    assert counted(fleet.certificate()) == {"predicted": 3}


def test_a_peer_of_an_older_release_is_refused_and_ends_no_scan(fleet: Fleet) -> None:
    fleet.fill(3)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce") as producer:
        with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
            peer.identity = b"old-one"
            peer.connect(endpoint)
            # What release 1 said: a hello, a beat, and a fatal goodbye once it was refused.
            for kind, header in (
                (b"Hello", b'{"protocol": 1, "name": "old-one", "credit": 64}'),
                (b"Beat", b'{"session": "", "holds": []}'),
                (b"Bye", b'{"error": "the producer refuses us", "fatal": true}'),
            ):
                peer.send_multipart([kind, header])
            assert peer.poll(10_000)
            kind, header = peer.recv_multipart()
            assert kind == b"Refused" and b"it speaks protocol 1, this producer 3" in header
        with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=fleet.environ) as consumer:
            assert (producer.wait(), consumer.wait()) == (0, 0), producer.text()
    assert producer.text().count("old-one is refused") == 1
    assert counted(fleet.certificate()) == {"predicted": 3}


def test_a_consumer_after_the_end_and_a_producer_without_any_say_so(fleet: Fleet) -> None:
    fleet.fill(3)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    quick = {"SNIFFER_NO_CONSUMER_S": "1.5"}
    with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce", **quick) as producer:
        assert producer.wait() == 1
    assert f"no consumer at {endpoint} for 1.5 s" in producer.text()
    assert not fleet.certificate().holds
    with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=fleet.environ | quick) as consumer:
        assert consumer.wait() == 1
    assert f"no word from a producer at {endpoint}" in consumer.text()
    assert "one whose scan has ended is known by --scan-id" in consumer.text()
    assert counted(fleet.scan()) == {"predicted": 3}


@pytest.mark.slow
def test_three_scans_of_one_bucket_at_a_time_are_harmless(fleet: Fleet, tmp_path: Path) -> None:
    fleet.fill(40)
    for number in range(20):
        fleet.put(f"images/copy-{number}.jpg", jpeg(number))
        fleet.put(f"images/damaged-{number}.jpg", b"\xff\xd8 no picture %d" % number)
    fleet.environ["SNIFFER_UNREADABLE_BUDGET"] = "1"
    paths = [tmp_path / f"{number}.json" for number in range(3)]
    with ExitStack() as stack:
        scans = [
            stack.enter_context(fleet.start(f"--scan-id=scan-{number}", f"--result={path}"))
            for number, path in enumerate(paths)
        ]
        assert [scan.wait() for scan in scans] == [0, 0, 0], "\n".join(scan.text() for scan in scans)
    fleet.assert_every_object_has_one_row()
    certificates = [Certificate.parse(json.loads(path.read_text())) for path in paths]
    assert all(certificate.holds and certificate.listed == 80 for certificate in certificates)
    # Each object has its outcome in one of the three, and is unchanged in the others.
    new = Counter[str]()
    for certificate in certificates:
        new.update(counted(certificate))
    assert new["unchanged"] == 160 and new["unreadable"] == 20 and new["predicted"] + new["reused"] == 60
    assert fleet.rows("SELECT COUNT(*), COUNT(DISTINCT image_id) FROM predictions") == [(80, 80)]
    assert not [line for scan in scans for line in scan.err if " ERROR " in line]


NEVER_GIVES_UP = dict.fromkeys(
    ("SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_SERVING_PATIENCE_S", "SNIFFER_FETCH_PATIENCE_S"), "3600"
)
"""What is wrong from the beginning is not worth any patience: an hour of it may not delay the end."""


def unreachable(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1/models/drug_detector"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("change", "flags", "status", "message"),
    [
        ({"SNIFFER_DATABASE_URL": ""}, [], 2, "SNIFFER_DATABASE_URL is not set"),
        ({"SNIFFER_DATABASE_URL": "sqlite:///x"}, [], 2, "must start with mysql+mysqldb://"),
        ({"SNIFFER_DATABASE_URL": "mysql+mysqldb://u:sesame@no-such-host.invalid/d"}, [], 2, "unknown host"),
        ({"SNIFFER_DATABASE_URL": "mysql+mysqldb://u:sesame@127.0.0.1:1/d"}, [], 1, "does not answer"),
        ({"SNIFFER_SERVING_URL": "http://h/models/x"}, [], 2, "SNIFFER_SERVING_URL must look like"),
        ({"SNIFFER_SERVING_URL": unreachable(1)}, [], 1, "the model server at"),
        ({}, ["--model-version=9"], 2, "model version 9 is not registered"),
        ({"SNIFFER_ERROR_BUDGET": "7"}, [], 2, "SNIFFER_ERROR_BUDGET must be from 0 to 1"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, [], 1, "check AWS_ENDPOINT_URL"),
        ({}, ["--since=2026-11-21", "--until=2026-11-20"], 2, "must be before"),
        ({}, ["--since=soon"], 2, "'soon' is not a date or time"),
        ({}, ["--progress=/proc/none/progress.json"], 2, "cannot write /proc/none/progress.json"),
    ],
)
def test_bad_settings_end_at_once_in_one_line(
    fleet: Fleet, change: dict[str, str], flags: list[str], status: int, message: str
) -> None:
    with fleet.start(*flags, **(NEVER_GIVES_UP | change)) as program:
        assert program.wait() == status
    assert message in program.text() and "sesame" not in program.text()
    assert len([line for line in program.err if not line.startswith("usage:")]) == 1, program.text()


def test_a_wrong_password_and_an_unserved_version_are_named(fleet: Fleet, database_url: str) -> None:
    password = database_url.split(":")[2].split("@")[0]
    wrong = {"SNIFFER_DATABASE_URL": database_url.replace(password, "wrong-one")}
    with fleet.start(**wrong) as program:
        assert program.wait() == 2
    assert "access denied" in program.text() and "wrong-one" not in program.text()
    with Database(DatabaseSettings(database_url)) as database:
        for version, preprocessing in ((2, PREPROCESSING_VERSION), (3, "another")):
            database.models.register(ModelRecord(version, "e" * 64, "b" * 64, preprocessing, 0.5, ModelStatus.BLESSED))
    for version, message in ((2, "model version 2 is not served at"), (3, "preprocessing another")):
        with fleet.start(f"--model-version={version}") as program:
            assert program.wait() == 2
        assert message in program.text()


def test_no_socket_is_open_to_the_world(fleet: Fleet) -> None:
    fleet.fill(100)
    with fleet.start("--consumers=2") as program:
        eventually(lambda: fleet.stored() > 0, "the scan is under way")
        looked_at = [_listening(process) for process in [psutil.Process(program.process.pid), *program.children()]]
        assert program.wait() == 0
    assert looked_at.count([]) > 2, "the scan was over before it was looked at"
    assert not any(looked_at)


def _listening(process: psutil.Process) -> list[str] | None:
    """Where a process listens over IP; None when it has ended."""
    try:
        found = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return None
    return [str(connection.laddr) for connection in found if connection.status == psutil.CONN_LISTEN]


def test_no_secret_is_on_a_command_line(fleet: Fleet, database_url: str) -> None:
    fleet.fill(40)
    password = database_url.split(":")[2].split("@")[0]
    with fleet.start("--consumers=2") as program:
        eventually(lambda: fleet.stored() > 0, "the scan is under way")
        lines = [" ".join(child.cmdline()) for child in program.children("sniffer.")]
        assert program.wait() == 0
    modules = ("sniffer.scan.produce", "sniffer.scan.consume", "sniffer.decoding.child")
    producers, consumers, decoders = (sum(f"-m {module}" in line for line in lines) for module in modules)
    # A consumer has a decoder beside it once it has begun; one image is stored, so one of them has.
    assert (producers, consumers) == (1, 2) and decoders in (1, 2) and producers + consumers + decoders == len(lines)
    assert not any(password in text for text in [*lines, program.text()])


def test_a_running_scan_keeps_its_progress_in_a_file(fleet: Fleet, tmp_path: Path) -> None:
    fleet.fill(4)
    progress = tmp_path / "progress.json"
    fleet.scan(f"--progress={progress}")
    assert json.loads(progress.read_text())["done"] == 4


@pytest.mark.slow
def test_a_copy_tells_how_the_picture_was_shown_that_has_its_score(fleet: Fleet) -> None:
    cut = jpeg(1)[:-300]
    for key in ("first.jpg", "copy in a later scan.jpg"):
        fleet.put(key, cut)
        fleet.scan()
    assert fleet.rows("SELECT outcome, rendering FROM predictions ORDER BY image_id") == [
        ("predicted", "partial"),
        ("reused", "partial"),
    ]


def test_a_retry_of_a_scan_does_not_make_its_unreadable_images_good(fleet: Fleet) -> None:
    fleet.fill(4)
    for number in range(5):
        fleet.put(f"page {number}.jpg", b"<html><body>Not found</body></html>")
    first = fleet.scan("--scan-id=night", status=1)
    again = fleet.scan("--scan-id=night", status=1)
    assert [counted(first)["unreadable"], counted(again)["unchanged"]] == [5, 9]
    assert "5 of 9 images are unreadable" in again.problems[0] and "5 of them were found by" in again.problems[0]
    fleet.scan("--scan-id=night", SNIFFER_UNREADABLE_BUDGET="0.6")
    assert counted(fleet.scan("--scan-id=tomorrow")) == {"unchanged": 9}
