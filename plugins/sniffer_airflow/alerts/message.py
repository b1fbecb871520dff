"""What somebody is told of a run: which, of what bucket, why, and where to look. Never a key, nor what an image holds.

Pure.
"""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass

from sniffer.core.text import one_line

_MOST_CHARS = 200


@dataclass(frozen=True)
class AlertMessage:
    """`bucket` is empty where the DAG has none. Every text is one line."""

    dag_id: str
    run_id: str
    reason: str
    url: str
    bucket: str = ""

    @property
    def subject(self) -> str:
        """What it is about."""
        return one_line(f"sniffer-bot: {self.dag_id}: {self.reason}", _MOST_CHARS)

    def document(self) -> dict[str, str]:
        """For a machine; `text` says all of it to a person."""
        return {"text": self.text(), **{name: one_line(value, _MOST_CHARS) for name, value in asdict(self).items()}}

    def text(self) -> str:
        """For a person, in one line."""
        of_bucket = f" of bucket {self.bucket}" if self.bucket else ""
        return f"{self.subject}; run {one_line(self.run_id, _MOST_CHARS)}{of_bucket}; {self.url}"

    def html(self) -> str:
        """For an e-mail."""
        facts = {"DAG": self.dag_id, "run": self.run_id, "bucket": self.bucket, "reason": self.reason}
        lines = [
            f"<li>{name}: {html.escape(one_line(value, _MOST_CHARS))}</li>" for name, value in facts.items() if value
        ]
        link = html.escape(self.url, quote=True)
        return f'<ul>{"".join(lines)}</ul><p><a href="{link}">{link}</a></p>'
