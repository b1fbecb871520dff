"""XML as S3 writes it: without a document type, of few and flat elements. Whatever else it is costs no parsing."""

from __future__ import annotations

from xml.etree import ElementTree

MOST_TAGS = 2 * 32 * 1000
"""Of a page with 1,000 entries of up to 32 elements; S3 has 15 at most."""


class NotADocument(ValueError):
    """It is no XML, or not S3's."""


def parse_document(body: bytes) -> ElementTree.Element:
    """Its root; raises NotADocument, before it is parsed when that would cost much."""
    if b"<!DOCTYPE" in body:
        raise NotADocument("it has a document type, which S3's answers have not")
    if b"\0" in body:
        raise NotADocument("it has zero bytes, which S3's answers have not")
    if (tags := body.count(b"<")) > MOST_TAGS:
        raise NotADocument(f"it has {tags} tags, a page of 1,000 keys has at most {MOST_TAGS}")
    try:
        return ElementTree.fromstring(body)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: an encoding that nobody knows
        raise NotADocument(str(error)) from error
