"""What a program shows on a terminal: runs it in one, and gives the last screen as HTML."""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence

_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[()][A-Z0-9]|\r|\n|\x08")
_COLOURS = ("#1e2127", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#dcdfe4")
_STYLE = """
body { margin: 0; background: #282c34 }
pre { margin: 0; padding: 18px 22px; display: inline-block; color: #dcdfe4 }
pre { font: 15px/1.4 "DejaVu Sans Mono", monospace }
b.prompt { color: #98c379 }
"""
Cell = tuple[str, str]
"""A character and its CSS."""


class Screen:
    """Lines of styled characters, as escape sequences leave them: colours, carriage returns, erasing, cursor up."""

    def __init__(self) -> None:
        self.lines: list[list[Cell]] = [[]]
        self._row = self._column = 0
        self._style: dict[str, str] = {}

    def write(self, text: str) -> None:
        """Take in what a program printed."""
        start = 0
        for control in _CONTROL.finditer(text):
            self._put(text[start : control.start()])
            self._obey(control)
            start = control.end()
        self._put(text[start:])

    def _put(self, text: str) -> None:
        line = self.lines[self._row]
        line += [(" ", "")] * (self._column + len(text) - len(line))
        css = ";".join(f"{name}:{value}" for name, value in self._style.items())
        line[self._column : self._column + len(text)] = [(character, css) for character in text]
        self._column += len(text)

    def _obey(self, control: re.Match[str]) -> None:
        word, letter = control[0], control[2]
        if word == "\r":
            self._column = 0
        elif word == "\x08":
            self._column = max(0, self._column - 1)
        elif word == "\n":
            self._move(1)
        elif letter in ("A", "B"):
            self._move(int(control[1] or 1) * (-1 if letter == "A" else 1))
        elif letter == "K":
            self._erase(control[1] or "0")
        elif letter == "m":
            self._restyle([int(code or 0) for code in control[1].split(";")])

    def _move(self, rows: int) -> None:
        self._row = max(0, self._row + rows)
        while len(self.lines) <= self._row:
            self.lines.append([])

    def _erase(self, what: str) -> None:
        line = self.lines[self._row]
        if what == "2":
            line.clear()
        elif what == "0":
            del line[self._column :]

    def _restyle(self, codes: Sequence[int]) -> None:
        for code in codes:
            if code == 0:
                self._style.clear()
            elif code == 1:
                self._style["font-weight"] = "bold"
            elif code == 2:
                self._style["opacity"] = "0.6"
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self._style["color"] = _COLOURS[code % 10]
            elif code == 39:
                self._style.pop("color", None)


def run_in_terminal(command: Sequence[str], environ: Mapping[str, str], columns: int = 110) -> tuple[int, Screen]:
    """Run the program with a terminal as its output; its exit status, and what the terminal shows in the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    full = {**environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=full)
    os.close(theirs)
    printed = b""
    try:
        while chunk := _read(ours):
            printed += chunk
    finally:
        os.close(ours)
    screen = Screen()
    screen.write(printed.decode("utf-8", "replace"))
    return program.wait(), screen


def as_html(command: str, screen: Screen) -> str:
    """A page that looks like the terminal, with the command on top."""
    lines = [_line(line) for line in screen.lines]
    while lines and not lines[-1].strip():
        lines.pop()
    body = "\n".join([f'<b class="prompt">$</b> {html.escape(command)}', *lines])
    return f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style><pre>{body}</pre>'


def _line(cells: Sequence[Cell]) -> str:
    parts, run, css = [], "", ""
    for character, style in [*cells, ("", "\0")]:
        if style != css:
            parts.append(f'<span style="{css}">{html.escape(run)}</span>' if css else html.escape(run))
            run, css = "", style
        run += character
    return "".join(parts).rstrip()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        # Linux says EIO, not end of file, once the other side of a terminal is closed.
        return b""
