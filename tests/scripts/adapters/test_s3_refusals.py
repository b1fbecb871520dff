"""What a GET's answer proves: deleted, replaced, inaccessible, a fault that passes, or the end of everything."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from support.http_server import HttpAnswer
from support.lying_s3 import BACKEND_PAGE, LyingS3, error_answer

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import NotFetched, Refusal
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.records import ListedObject, Outcome, Unscored

KEYS = ["a.jpg", "odd//ä +.jpg"]


def opened(lying_s3: LyingS3, key: str, body: bytes = b"body", **more: str) -> tuple[Bucket, ListedObject]:
    lying_s3.put(key, body, **more)
    bucket = Bucket("bkt", patience_s=0.3, max_bytes=1000)
    bucket.check()
    return bucket, next(image for page in bucket.pages("") for image in page if image.key == key)


def verdict(bucket: Bucket, image: ListedObject) -> Unscored:
    with pytest.raises(NotFetched) as caught:
        bucket.fetch(image)
    return caught.value.verdict


def always(answer: HttpAnswer) -> Callable[[str, HttpAnswer], HttpAnswer]:
    return lambda _key, _answer: answer


def with_headers(answer: HttpAnswer, **headers: str | None) -> HttpAnswer:
    """The answer with other headers; None takes one away."""
    given: dict[str, str | None] = {name.lower(): value for name, value in answer.headers}
    given |= headers
    told = [(name.replace("_", "-"), value) for name, value in given.items() if value is not None]
    return HttpAnswer(answer.status, answer.body, told)


# ---- negative answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchVersion"])
def test_only_s3s_own_word_proves_that_an_object_is_gone(lying_s3: LyingS3, key: str, code: str) -> None:
    bucket, image = opened(lying_s3, key)
    lying_s3.give_as = always(error_answer(404, code))
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.GONE, "deleted")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(404, BACKEND_PAGE),
        HttpAnswer(404, b""),
        HttpAnswer(404, b"<?xml version='1.0'?><Error><Code></Code></Error>"),
        HttpAnswer(404, b"NoSuchKey"),
        HttpAnswer(404, b'{"Code": "NoSuchKey"}'),
        HttpAnswer(404, b"<Error><Code>NoSuchKey"),
        error_answer(404, "NoSuchUpload"),
        error_answer(404, "404"),
        HttpAnswer(403, b"<html>blocked by policy</html>"),
        HttpAnswer(403, b""),
        HttpAnswer(407, b"proxy authentication"),
        HttpAnswer(302, b"", [("Location", "/login")]),
        HttpAnswer(204, b""),
        HttpAnswer(206, b"bo"),
        HttpAnswer(429, b"slow down"),
        error_answer(429, "TooManyRequests"),
        error_answer(503, "SlowDown"),
        error_answer(400, "RequestTimeout"),
        error_answer(500, "InternalError"),
        error_answer(503, "ServiceUnavailable"),
        error_answer(400, "KMS.ThrottlingException"),
        HttpAnswer(502, BACKEND_PAGE),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:40]!r}",
)
def test_whatever_else_may_pass_and_is_then_a_failure(lying_s3: LyingS3, key: str, answer: HttpAnswer) -> None:
    bucket, image = opened(lying_s3, key)
    lies = iter([answer])
    lying_s3.give_as = lambda _key, true: next(lies, true)
    assert bucket.fetch(image) == b"body"
    lying_s3.give_as = always(answer)
    before = len(lying_s3.gets)
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.FAILED, "fetch")
    assert len(lying_s3.gets) > before + 2, "it was not asked again"


def test_a_connection_that_is_refused_is_a_failure_of_the_moment(lying_s3: LyingS3) -> None:
    lying_s3.give_as = lambda _key, true: with_headers(true, connection="close")
    bucket, image = opened(lying_s3, "a")
    next(bucket.pages(""))
    lying_s3.list_as = lambda _asked, page: HttpAnswer(200, page.xml(), [("Connection", "close")])
    next(bucket.pages(""))
    lying_s3.__exit__()
    assert verdict(bucket, image).code == "fetch"
    with pytest.raises(TransientError):
        list(bucket.pages(""))


# ---- the bytes are those that were listed ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", ['W/"{}"', "{}", '"{}"', "W/{}", ' "{}" '])
def test_an_etag_is_the_same_in_each_form(lying_s3: LyingS3, key: str, form: str) -> None:
    bucket, image = opened(lying_s3, key)
    lying_s3.give_as = lambda _key, true: with_headers(true, etag=form.format(image.etag))
    assert bucket.fetch(image) == b"body"
    lying_s3.give_as = lambda _key, true: with_headers(true, etag=form.format(image.etag.upper()))
    assert bucket.fetch(image) == b"body"


@pytest.mark.parametrize("etag", [None, "", '"something else"'])
def test_a_get_that_is_not_as_listed_though_the_listing_stands_is_a_failure(
    lying_s3: LyingS3, etag: str | None
) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    lying_s3.give_as = lambda _key, true: with_headers(true, etag=etag)
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.FAILED, "not_as_listed")
    assert image.etag in found.message


def test_opaque_etags_that_differ_in_case_are_two(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg", etag="0x8DAbC")
    lying_s3.give_as = lambda _key, true: with_headers(true, etag='"0x8dabc"')
    assert verdict(bucket, image).code == "not_as_listed"


@pytest.mark.parametrize("key", KEYS)
def test_an_object_that_is_listed_otherwise_by_now_is_replaced(lying_s3: LyingS3, key: str) -> None:
    bucket, image = opened(lying_s3, key)
    lying_s3.put(key, b"other bytes")
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.GONE, "replaced")


def test_a_store_with_one_etag_for_everything_does_not_hide_a_replacement(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg", b"first", etag="same")
    lying_s3.put("a.jpg", b"longer", etag="same")
    assert verdict(bucket, image).code == "replaced"
    lying_s3.put("a.jpg", b"equal", etag="same").modified += timedelta(hours=1)
    assert verdict(bucket, image).code == "replaced"


def test_a_store_whose_gets_tell_another_time_is_read(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    lying_s3.give_as = lambda _key, true: with_headers(true, last_modified="Fri, 27 Nov 2026 06:00:00 GMT")
    assert bucket.fetch(image) == b"body"


def test_an_object_that_is_deleted_while_it_differs_is_deleted(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    true_answer = lying_s3._object("a.jpg")
    answers = iter([with_headers(true_answer, etag='"other"')])
    del lying_s3.objects["a.jpg"]
    lying_s3.give_as = lambda _key, true: next(answers, true)
    assert verdict(bucket, image).code == "deleted"


@pytest.mark.parametrize("key", KEYS)
def test_a_body_that_ends_early_is_never_believed(lying_s3: LyingS3, key: str) -> None:
    bucket, image = opened(lying_s3, key, b"a whole body")
    short = HttpAnswer(200, b"a whole", [("ETag", f'"{image.etag}"')], content_length=12)
    answers = iter([short])
    lying_s3.give_as = lambda _key, true: next(answers, true)
    assert bucket.fetch(image) == b"a whole body"
    lying_s3.give_as = always(short)
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.FAILED, "fetch")
    with pytest.raises(NotFetched):
        bucket.read(key)


def test_a_body_of_another_length_than_listed_is_a_failure(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg", b"a whole body")
    lying_s3.give_as = always(HttpAnswer(200, b"a whole", [("ETag", f'"{image.etag}"')]))
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.FAILED, "not_as_listed")
    assert "7 bytes, listed 12" in found.message


# ---- inaccessible ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error_answer(403, "InvalidObjectState", "not valid for the object's storage class"), "archived"),
        (error_answer(400, "KMS.DisabledException", "arn:aws:kms:… is disabled."), "kms"),
        (error_answer(400, "KMS.NotFoundException", "Key does not exist"), "kms"),
        (error_answer(400, "KMS.KMSInvalidStateException", "pending deletion"), "kms"),
        (error_answer(403, "AccessDenied", "User: u is not authorized to perform: kms:Decrypt on …"), "kms"),
        (
            error_answer(
                400,
                "InvalidRequest",
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided "
                "to retrieve the object.",
            ),
            "sse_c",
        ),
        (error_answer(403, "AccessDenied", "Bucket is requester pays, x-amz-request-payer missing"), "requester_pays"),
        (error_answer(403, "AccessDenied", "Access Denied"), "access_denied"),
        (error_answer(401, "Unauthorized"), "access_denied"),
    ],
)
def test_what_cannot_be_read_until_somebody_acts_is_inaccessible(
    lying_s3: LyingS3, answer: HttpAnswer, code: str
) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    lying_s3.give_as = always(answer)
    before = len(lying_s3.gets)
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.INACCESSIBLE, code)
    assert len(lying_s3.gets) == before + 1, "asking again does not help"


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_what_is_listed_as_archived_is_not_asked_for(lying_s3: LyingS3, storage_class: str) -> None:
    bucket, image = opened(lying_s3, "a.jpg", listed_xml=f"<StorageClass>{storage_class}</StorageClass>")
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.INACCESSIBLE, "archived")
    assert storage_class in found.message
    assert lying_s3.gets == []


def test_what_is_restored_is_fetched(lying_s3: LyingS3) -> None:
    restored = (
        "<StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
        "<RestoreExpiryDate>2026-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>"
    )
    bucket, image = opened(lying_s3, "a.jpg", listed_xml=restored)
    assert bucket.fetch(image) == b"body"


def test_a_request_that_makes_no_sense_to_s3_fails_alone(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    lying_s3.give_as = always(error_answer(400, "KeyTooLongError"))
    found = verdict(bucket, image)
    assert (found.outcome, found.code) == (Outcome.FAILED, "fetch")
    assert "KeyTooLongError" in found.message


def test_keys_that_s3_would_not_have_get_a_clear_verdict(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    for key, why in {"k" * 1025: "over 1024 bytes", "a\udcff": "no UTF-8"}.items():
        found = verdict(bucket, ListedObject("bkt", key, image.etag, 4, image.last_modified))
        assert (found.outcome, found.code) == (Outcome.FAILED, "unusable_key")
        assert why in found.message


# ---- the end of everything ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "code",
    [
        "ExpiredToken",
        "InvalidToken",
        "InvalidAccessKeyId",
        "RequestTimeTooSkewed",
        "AuthorizationHeaderMalformed",
        "NotSignedUp",
    ],
)
def test_credentials_that_no_request_would_survive_stop_at_once(lying_s3: LyingS3, key: str, code: str) -> None:
    bucket, image = opened(lying_s3, key)
    lying_s3.give_as = always(error_answer(403, code, "s3's words"))
    before = len(lying_s3.gets)
    with pytest.raises(SettingsError, match=f"{code}.*s3's words"):
        bucket.fetch(image)
    assert len(lying_s3.gets) == before + 1


def test_a_wrong_signature_stops_but_for_a_key_that_is_rewritten_on_its_way(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    lying_s3.give_as = always(error_answer(403, "SignatureDoesNotMatch"))
    with pytest.raises(SettingsError, match="SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY"):
        bucket.fetch(image)
    odd = ListedObject("bkt", "a/../b.jpg", image.etag, 4, image.last_modified)
    assert verdict(bucket, odd).outcome is Outcome.FAILED


def test_a_bucket_that_vanishes_stops(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    lying_s3.give_as = always(error_answer(404, "NoSuchBucket"))
    with pytest.raises(SettingsError, match="bucket 'bkt' .* does not exist"):
        bucket.fetch(image)


def test_downloads_stop_and_wait_by_the_same_rules(lying_s3: LyingS3, tmp_path_factory: pytest.TempPathFactory) -> None:
    bucket, model = opened(lying_s3, "model")
    path = tmp_path_factory.mktemp("down") / "model"
    answers = iter([HttpAnswer(429, b"slow"), HttpAnswer(404, BACKEND_PAGE), error_answer(400, "RequestTimeout")])
    lying_s3.give_as = lambda _key, true: next(answers, true)
    Bucket("bkt", patience_s=30, max_bytes=1000).download(model, path)
    assert path.read_bytes() == b"body"
    lying_s3.give_as = always(error_answer(400, "ExpiredToken"))
    with pytest.raises(SettingsError, match="ExpiredToken"):
        bucket.download(model, path)
    lying_s3.give_as = always(HttpAnswer(404, BACKEND_PAGE))
    with pytest.raises(NotFetched) as caught:
        bucket.download(model, path)
    assert caught.value.verdict.outcome is Outcome.FAILED


# ---- check() --------------------------------------------------------------------------------------------------------


def test_check_fetches_an_object_as_the_scan_will(lying_s3: LyingS3) -> None:
    bucket, image = opened(lying_s3, "a.jpg")
    assert lying_s3.gets == ["a.jpg"]
    assert bucket.check() == image
    for answer, error, words in [
        (error_answer(403, "ExpiredToken"), SettingsError, "ExpiredToken"),
        (HttpAnswer(404, BACKEND_PAGE), TransientError, "can be listed, but a GET"),
        (error_answer(503, "SlowDown"), TransientError, "SlowDown"),
    ]:
        lying_s3.give_as = always(answer)
        with pytest.raises(error, match=words):
            bucket.check()


def test_check_says_when_nothing_can_be_read(lying_s3: LyingS3) -> None:
    bucket, _ = opened(lying_s3, "a.jpg")
    lying_s3.give_as = always(error_answer(403, "AccessDenied"))
    assert bucket.check() is None, "one object proves nothing"
    for number in range(20):
        lying_s3.put(f"b{number}")
    with pytest.raises(SettingsError, match="AccessDenied.*s3:GetObject"):
        bucket.check()
    assert bucket.check(reads_all=False) is None, "whoever needs some objects only may lack the right to others"
    lying_s3.give_as = lambda key, true: error_answer(403, "AccessDenied") if key == "a.jpg" else true
    given = bucket.check()
    assert given is not None
    assert given.key == "b0"


def test_a_locked_folder_does_not_hide_that_the_rest_can_be_read(lying_s3: LyingS3) -> None:
    for number in range(1200):
        lying_s3.put(f"up/locked/{number:04}.jpg")
    lying_s3.put("up/open/1.jpg")
    lying_s3.give_as = lambda key, true: error_answer(403, "AccessDenied") if "locked" in key else true
    bucket = Bucket("bkt", patience_s=0, max_bytes=1000)
    given = bucket.check("up/")
    assert given is not None
    assert given.key == "up/open/1.jpg"
    locked = [image for page in bucket.pages("up/") for image in page if "locked" in image.key]
    for image in locked[:250]:
        assert verdict(bucket, image).code == "access_denied"
    lying_s3.give_as = always(error_answer(403, "AccessDenied"))
    with pytest.raises(SettingsError, match="refused 300 objects in a row.*AccessDenied"):
        for image in locked[250:301]:
            verdict(bucket, image)


def test_a_check_takes_no_patience(lying_s3: LyingS3) -> None:
    lying_s3.put("a")
    bucket = Bucket("bkt", patience_s=60, max_bytes=1000)
    lying_s3.give_as = always(HttpAnswer(502, b"bad gateway"))
    began = time.monotonic()
    with pytest.raises(TransientError):
        bucket.check()
    assert time.monotonic() - began < 20


def test_requester_pays_is_said_in_every_read(lying_s3: LyingS3) -> None:
    lying_s3.put("a.jpg")
    for pays in (True, False):
        bucket = Bucket("bkt", patience_s=0, max_bytes=1000, requester_pays=pays)
        lying_s3.requests.clear()
        bucket.check()
        for page in bucket.pages(""):
            bucket.fetch(page[0])
        said = [dict(request.headers).get("x-amz-request-payer") for request in lying_s3.requests]
        assert said == ["requester" if pays else None] * 4


def test_a_refusal_reads_s3s_words_in_each_form() -> None:
    forms = [
        b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>",
        b'<?xml version="1.0"?>\n<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>NoSuchKey</Code></Error>',
        b"<ErrorResponse><Error><Code>NoSuchKey</Code></Error></ErrorResponse>",
    ]
    assert [Refusal.parse(404, form).code for form in forms] == ["NoSuchKey"] * 3
    assert Refusal.parse(404, b"<html><Code>NoSuchKey</Code></html>").code == ""
