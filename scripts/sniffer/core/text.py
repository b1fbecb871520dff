"""Foreign texts, as our own messages and pages quote them: nothing in them may look like something else."""

from __future__ import annotations

import re
import unicodedata

from sniffer.core.redaction import LONGEST, hide

# What a terminal or a browser acts upon, or shows as nothing at all: controls, line ends, marks of direction, joiners,
# surrogates, private and unassigned characters, blanks that are no space, and the letters that have no shape.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHAPELESS = re.compile(
    "[\u00a0\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_MARKDOWN = re.compile(r"[^\w\s/:.,'-]|_|^[-+]|(?<=^\d)\.")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object) -> str:
    """The text with every character that cannot be seen written as an escape: `\\n`, `\\x1b`, `\\u202e`.

    What people read goes through here whenever an uploader, a peer or a foreign system chose a part of it, such as an
    object's key: otherwise a key with a line end forges a line of a certificate.
    """
    found = str(text)
    if found.isascii() and found.isprintable():
        return found
    return "".join(character if _is_seen(character) else _escape(character) for character in found)


def code_span(text: object) -> str:
    """The text as Markdown's code, whatever backticks it has: nothing in it is a link, a tag or the end of the code."""
    shown = printable(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence}{shown}{fence}" if len(fence) == 1 else f"{fence} {shown} {fence}"


def markdown_text(text: object, longest: int = 2000) -> str:
    """The text as Markdown that shows it as it is: a person's name or reason is no link, picture, tag or heading.

    It is on one line, and of the text itself, without what escapes it, at most `longest` characters are shown.
    """
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text, longest))


def one_line(text: object, longest: int = 300) -> str:
    """The text, or the message of an error, printable on one line of at most `longest` characters, without secrets."""
    # A character becomes at most ten; a text of megabytes is cut before it is looked at. A secret is hidden before it
    # is cut: its first half would not be known.
    found = hide(str(text)[: 4 * longest + LONGEST])[: 4 * longest]
    return printable(" ".join(found.split()))[:longest]


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN_CATEGORIES and not _SHAPELESS.match(character)


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
