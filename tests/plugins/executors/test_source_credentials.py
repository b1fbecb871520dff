"""A source's Connection and role, from Airflow to the real program, which lists another account's bucket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException
from support.accounts import ROLE, two_accounts
from support.task_context import task_context

from sniffer_airflow.executors.choose import program
from sniffer_airflow.scan.sources import parse_table
from sniffer_local.s3 import ACCESS_KEY, SECRET_KEY


def test_another_account_s_bucket_is_listed_by_the_source_s_role_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = {"name": "partner", "bucket": "theirs", "connection": "aws_partner"}
    [without], [with_role] = (
        parse_table({"sources": [source | more]}, "t", in_pods=False).sources
        for more in ({}, {"role": ROLE, "external_id": "4711", "region": "eu-west-1"})
    )
    monkeypatch.setenv("SNIFFER_FETCH_PATIENCE_S", "1")
    with two_accounts(tmp_path, b"theirs") as server:
        connection = {
            "conn_type": "aws",
            "login": ACCESS_KEY,
            "password": SECRET_KEY,
            "extra": {"endpoint_url": server.endpoint_url},
        }
        monkeypatch.setenv("AIRFLOW_CONN_AWS_PARTNER", json.dumps(connection))
        listed, refused = (
            program(
                task_id="plan",
                module="sniffer.scan.plan",
                arguments=["--bucket=theirs"],
                needs=("aws",),
                aws_connection=each.connection,
                environ=each.environ,
            )
            for each in (with_role, without)
        )
        result = listed.execute(task_context())
        with pytest.raises(AirflowFailException, match="theirs"):
            refused.execute(task_context())
    assert result["bucket"] == "theirs"
    said = "".join(capfd.readouterr())
    assert "Running " in said and not {text for text in (ROLE, "4711", SECRET_KEY) if text in said}  # no command line
