"""A mail server on the loopback that keeps what it is given."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage
from typing import Self, cast


class _Session(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs that sends one message."""

    def handle(self) -> None:
        self._say("220 here")
        to: list[str] = []
        while line := self.rfile.readline():
            verb = line[:4].decode().upper()
            if verb == "RCPT":
                to.append(line.decode().partition("<")[2].partition(">")[0])
            if verb == "DATA":
                self._say("354 go on")
                self._keep(to)
            self._say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def _keep(self, to: list[str]) -> None:
        lines = []
        while (line := self.rfile.readline()).rstrip(b"\r\n") != b".":
            lines.append(line.removeprefix(b"."))
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        cast("MailServer", self.server).kept.append((tuple(to), message))

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class MailServer(socketserver.ThreadingTCPServer):
    """Serves as long as it is entered. `kept` has each message with whom it is for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.kept: list[tuple[tuple[str, ...], EmailMessage]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
