"""A secret that a process has read is in nothing that it says, in whatever encoding a foreign system quotes it."""

from __future__ import annotations

import base64
import html
import json
import logging
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sniffer.core.errors import TransientError
from sniffer.core.logs import JSON, TEXT, complain, configure_logging
from sniffer.core.redaction import KNOWN, KnownSecrets, SecretUrl
from sniffer.core.settings import DatabaseSettings, ServingSettings, serving_settings
from sniffer.core.text import one_line

NASTY = "k9/Zq@\"w ö\\<&%+'"
URL = f"mysql+mysqldb://user:{quote(NASTY, safe='')}@host/database"


def forms_of(secret: str) -> list[str]:
    """A secret as other systems write it."""
    percent = quote(secret, safe="")
    return [
        secret,
        percent,
        percent.lower() if not any(c.isupper() for c in secret) else percent,
        quote(secret),
        quote(percent, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(secret.encode())[2:-1],
        html.escape(secret),
        html.escape(percent),
    ]


@pytest.mark.parametrize("form", forms_of(NASTY))
def test_a_secret_is_hidden_in_every_encoding(form: str) -> None:
    known = KnownSecrets({"SNIFFER_DATABASE_URL": URL})
    assert known.hide(f"before {form} after") == "before *** after"


@given(st.text(min_size=5, max_size=12))
def test_whatever_is_in_a_password_it_is_hidden(password: str) -> None:
    known = KnownSecrets()
    known.learn(password)
    for form in (password, quote(password, safe="", errors="surrogatepass"), json.dumps(password)[1:-1]):
        assert known.hide(f"‹{form}›") == "‹***›"


def test_what_a_header_makes_of_user_and_password_is_hidden() -> None:
    known = KnownSecrets({"HTTPS_PROXY": "http://me:pass%40word@proxy:3128"})
    basic = base64.b64encode(b"me:pass@word").decode()
    assert known.hide(f"got {basic}, {basic.rstrip('=')}") == f"got ***{'=' * basic.count('=')}, ***"


@pytest.mark.parametrize(
    ("environ", "secrets"),
    [
        ({"HTTP_PROXY": "user:hunter-22@proxy:3128"}, ["hunter-22"]),
        ({"https_proxy": "http://user:hunter-22@proxy:3128"}, ["hunter-22"]),
        ({"AWS_ENDPOINT_URL_S3": "https://user:hunter-22@store"}, ["hunter-22"]),
        ({"AWS_SECRET_ACCESS_KEY": "hunter-22", "AWS_SESSION_TOKEN": "token-22"}, ["hunter-22", "token-22"]),
        ({"SNIFFER_SERVING_REPLICAS": "http://a:1,http://u:hunter-22@b:2"}, ["hunter-22"]),
        ({"ANY_NAME": "postgresql://u:hunter-22@h/db?token=more-22"}, ["hunter-22", "more-22"]),
        ({"ANY_NAME": "https://hunter-22@h/x"}, ["hunter-22"]),
        ({"SNIFFER_DATABASE_URL": "mysql://u:hun/ter22@h/db"}, ["hun/ter22", "ter22"]),
    ],
)
def test_secrets_are_known_by_where_they_stand(environ: dict[str, str], secrets: list[str]) -> None:
    known = KnownSecrets(environ)
    for secret in secrets:
        assert known.hide(f"a {secret} b") == "a *** b"


def test_what_is_no_secret_stays() -> None:
    known = KnownSecrets({"HTTP_PROXY": "http://user:pw@proxy:3128", "X": "s3://bucket/a@b?c=secret"})
    text = "s3://bucket/user:pw@x?token=abc pw http://host:9000/bucket/a@b.jpg mysql://u@h/db?charset=utf8mb4"
    assert known.hide(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('at URL: "http://u:pw@h:1/b?list-type=2&prefix=a"', 'at URL: "http://u:***@h:1/b?list-type=2&prefix=a"'),
        (
            "GET https://b.s3/k?X-Amz-Date=1&X-Amz-Credential=AK&X-Amz-Signature=ab HTTP/1.1",
            "GET https://b.s3/k?X-Amz-Date=1&X-Amz-Credential=***&X-Amz-Signature=*** HTTP/1.1",
        ),
        ("https://acc.blob/x?sv=1&sig=abc%3D", "https://acc.blob/x?sv=***&sig=***"),
        (
            "https://b/k?AWSAccessKeyId=AK&Signature=ab&Expires=1",
            "https://b/k?AWSAccessKeyId=***&Signature=***&Expires=***",
        ),
        ("{'Authorization': 'Bearer abc.def', 'Host': 'h'}", "{'Authorization': ***, 'Host': 'h'}"),
        ("Proxy-Authorization: Basic dTpw", "Proxy-Authorization: ***"),
        ("X-Amz-Security-Token: abc\nHost: h", "X-Amz-Security-Token: ***\nHost: h"),
    ],
)
def test_foreign_urls_and_headers_in_a_text_show_no_secret(text: str, shown: str) -> None:
    assert KnownSecrets().hide(text) == shown


def test_settings_show_their_secrets_to_nobody_but_whoever_connects() -> None:
    for settings in (DatabaseSettings(URL), ServingSettings("http://me:hunter-22@h:8501/v1/models/m")):
        shown = f"{settings} {settings!r} {settings.url} {settings.url!r} {[settings.url]}"
        assert "***" in shown and "hunter" not in shown and "k9" not in shown
    assert DatabaseSettings(URL).url.reveal() == URL
    read = serving_settings({"SNIFFER_SERVING_URL": "http://me:hunter-22@h:8501/v1/models/m"})
    assert str(read.url) == "http://me:***@h:8501/v1/models/m"


def test_a_secret_is_hidden_before_a_text_is_cut() -> None:
    SecretUrl("http://me:hunter-22-is-long@h")
    for longest in range(1, 40):
        assert "hunt" not in one_line("said hunter-22-is-long", longest)


@dataclass
class _Carrier(Exception):
    text: str

    def __str__(self) -> str:
        return self.text


@pytest.mark.parametrize("log_format", [TEXT, JSON])
def test_log_lines_stack_traces_and_complaints_have_none(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    KNOWN.learn_environment({"SNIFFER_DATABASE_URL": URL, "AWS_SECRET_ACCESS_KEY": "hunter-22"})
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logging("program", log_format=log_format)
        logging.getLogger("x").warning("%s and %s", NASTY, quote(NASTY))
        try:
            raise _Carrier(f"a foreign error: {URL}\nhunter-22")
        except _Carrier:
            logging.getLogger("x").exception("hunter-22")
        complain("sniffer program", f"hunter-22 {NASTY}")
    finally:
        root.handlers[:], root.level = before
    said = capsys.readouterr().err
    assert said.count("***") >= 6
    assert "hunter" not in said and "k9" not in said


def test_our_errors_quote_none() -> None:
    KNOWN.learn("hunter-22")
    error = TransientError("the server said hunter-22")
    assert str(error) == "the server said ***"
    assert f"{error}" == "the server said ***"


def test_what_is_renewed_is_hidden_and_only_the_last_ones_are_kept() -> None:
    known = KnownSecrets()
    tokens = [f"token-{number:03}-{'x' * 200}" for number in range(20)]
    for token in tokens:
        known.renew("S3 uploads", "the-key-of-all", token)
        known.renew("S3 uploads", "the-key-of-all", token)
        assert known.hide(f"sent {token}, the-key-of-all") == "sent ***, ***"
    said = " ".join(tokens)
    assert all(token not in known.hide(said) for token in tokens[-3:]), "a late answer may quote it"
    assert tokens[0] in known.hide(said)
    known.renew("S3 models", "another-key", None)
    assert known.hide(f"{tokens[-1]} another-key") == "*** ***"
    assert base64.b64encode(tokens[-1].encode()).decode().rstrip("=") in known.forms()


def test_a_place_that_gives_no_secret_hides_nothing() -> None:
    known = KnownSecrets()
    known.renew("Kubernetes", "", None)
    assert known.hide("all of it") == "all of it"
