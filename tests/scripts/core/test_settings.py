"""The settings as data: names, bounds and defaults hold, and no secret of a URL is ever shown."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sniffer.core.errors import SettingsError
from sniffer.core.redaction import without_password
from sniffer.core.setting import Setting
from sniffer.core.settings import (
    SETTINGS,
    airflow_settings,
    database_settings,
    fleet_settings,
    serving_settings,
)

NUMBERS = [setting for setting in SETTINGS if setting.parse in (int, float)]


def name_of(setting: Setting[Any]) -> str:
    return setting.name


def test_every_variable_is_there_once_and_says_what_it_means() -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS) > 35
    assert all(setting.meaning and setting.group for setting in SETTINGS)


@pytest.mark.parametrize("setting", NUMBERS, ids=name_of)
def test_a_default_keeps_its_bounds_and_what_is_outside_is_refused(setting: Setting[Any]) -> None:
    assert setting.read({}) == setting.default
    if not setting.shown:
        assert setting.minimum <= setting.default <= setting.maximum
    assert setting.minimum > -math.inf, "a number without a lower bound"
    for wrong in (f"{setting.minimum - 1:g}", "nan", "many", "1e400" if setting.parse is float else "1.5"):
        if wrong == "1e400" and setting.maximum == math.inf:
            continue
        with pytest.raises(SettingsError, match=setting.name):
            setting.read({setting.name: wrong})


@pytest.mark.parametrize("setting", NUMBERS, ids=name_of)
def test_a_duration_has_its_unit_in_name_and_help(setting: Setting[Any]) -> None:
    assert setting.name.endswith("_S") == (setting.unit == "s")
    assert setting.unit != "s" or f"{setting.default:g} s" in setting.line()


def test_the_dataclasses_have_the_same_defaults() -> None:
    assert fleet_settings({}).beat_s == 2.0
    assert fleet_settings({"SNIFFER_BEAT_S": "3"}).beat_s == 3.0
    with pytest.raises(SettingsError, match="must be at least twice SNIFFER_BEAT_S"):
        fleet_settings({"SNIFFER_BEAT_S": "11"})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql+mysqldb://u:secret@h/db?charset=utf8mb4", "mysql+mysqldb://u:***@h/db?charset=utf8mb4"),
        ("mysql+mysqldb://u:se@cret@h:3306/db", "mysql+mysqldb://u:***@h:3306/db"),
        ("mysql+mysqldb://u:se/cret@h/db", "mysql+mysqldb://u:***@h/db"),
        ("mysql+mysqldb://u:se#cret@h/db", "mysql+mysqldb://u:***@h/db"),
        ("mysql+mysqldb://u:se?cret@h/db", "mysql+mysqldb://u:***@h/db"),
        ("mysql+mysqldb://u:1/secret@h/db", "mysql+mysqldb://u:***@h/db"),
        ("mysql+mysqldb://u@h/db?passwd=secret&charset=x", "mysql+mysqldb://u@h/db?passwd=***&charset=x"),
        ("http://user:secret@[::1]:8080/x", "http://user:***@[::1]:8080/x"),
        ("redis://:secret@h", "redis://:***@h"),
        ("https://b.s3/k?X-Amz-Signature=secret&X-Amz-Date=1", "https://b.s3/k?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://b/k?AWSAccessKeyId=a&Signature=secret", "https://b/k?AWSAccessKeyId=***&Signature=***"),
        ("http://user:12/secret@h:8501/v1/models/a", "http://user:***@h:8501/v1/models/a"),
        ("http://user:12@secret@h:8501/x", "http://user:***@h:8501/x"),
        ("http://h:8501/v1/models/a", "http://h:8501/v1/models/a"),
        # Who could say whether this is a port, or the beginning of a password?
        ("http://h:8501/v1/models/a@b", "http://h:***@b"),
        ("mysql+mysqldb://u@h:3306/db?passwd=sec@ret&charset=x", "mysql+mysqldb://u@h:***@***&charset=x"),
        ("mysql+mysqldb://u:a@h/db?token=sec@ret", "mysql+mysqldb://u:***@***"),
        ("u:secret@h/db", "u:***@h/db"),
        ("u:se://cret@h/db", "u:***@h/db"),
        ("s3://bucket/key@1", "s3://bucket/key@1"),
        ("/srv/models", "/srv/models"),
    ],
)
def test_a_url_is_shown_without_its_secret(url: str, shown: str) -> None:
    assert without_password(url) == shown


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=20))
def test_no_password_is_shown_whatever_is_in_it(text: str) -> None:
    password = f"q7{text}7q"
    assert password not in without_password(f"mysql+mysqldb://user:{password}@host/database")
    assert "q7" not in repr(database_settings({"SNIFFER_DATABASE_URL": f"mysql+mysqldb://user:{password}@host/d"}))


@pytest.mark.parametrize("scheme", ["", "http://", "mysql://", "mysql+mysqldb://"])
@pytest.mark.parametrize("password", ["q7", "q7/x", "q7#x", "1/q7", "1@q7", "1@x:q7", "://q7", "x?token=q7", "1#q7"])
def test_a_refused_url_does_not_show_its_password(scheme: str, password: str) -> None:
    url = f"{scheme}user:{password}@host/database"
    assert "q7" not in without_password(url)
    for read, name in ((database_settings, "SNIFFER_DATABASE_URL"), (serving_settings, "SNIFFER_SERVING_URL")):
        try:
            read({name: url})
        except SettingsError as error:
            assert "q7" not in str(error)


def test_airflows_address_is_taken_apart() -> None:
    settings = airflow_settings({"SNIFFER_AIRFLOW_URL": "https://ad%40min:p%2Fw@host:8080/base/"})
    assert (settings.url, settings.user, settings.password) == ("https://host:8080/base", "ad@min", "p/w")
    assert "p/w" not in repr(settings)
    with pytest.raises(SettingsError, match="must look like"):
        airflow_settings({"SNIFFER_AIRFLOW_URL": "http://host:8080"})
