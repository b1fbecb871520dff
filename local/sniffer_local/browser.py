"""A headless Chromium, driven over its DevTools protocol by a pair of pipes: no port, and no package of its own."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any

from sniffer.core.errors import SettingsError, TransientError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ANSWER_LIMIT_S = 60.0
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}
"""Keys that a page can be given, with the numbers by which a browser knows them; letters and digits beside them."""
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and answers on 4; the shell puts our pipes there. Not Debian's `sh`, which
# knows no descriptor above 9.
_WITH_PIPES = 'reads=$1 answers=$2; shift 2; exec "$@" 3<&"$reads" 4>&"$answers"'


class PageChanged(TransientError):
    """The page went elsewhere while it was asked; ask the new one."""


class Page:
    """The one tab of a browser."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes]) -> None:
        self._commands = commands
        self._answers = answers
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        self.complaints: list[str] = []
        """What the console of the pages shows as errors, and what their scripts did not catch."""
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        """The window in CSS pixels, and how many of the picture's pixels each is."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, url: str) -> None:
        """Go there; what the page loads later has to be waited for."""
        answer = self._call("Page.navigate", {"url": url})
        if "errorText" in answer:
            raise TransientError(f"{url} cannot be opened in the browser: {answer['errorText']}")

    def run(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression in the page."""
        answer = self._call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in answer:
            raise TransientError(f"the page could not run {expression!r}: {answer['exceptionDetails']['text']}")
        return answer["result"].get("value")

    def wait_for(self, condition: str, limit_s: float = ANSWER_LIMIT_S) -> None:
        """Until the JavaScript condition is true."""
        deadline = time.monotonic() + limit_s
        while not self._holds(condition):
            if time.monotonic() > deadline:
                raise TransientError(f"the page was not ready in {limit_s:g} s: {condition}")
            time.sleep(0.2)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.run(f"Boolean({condition})"))
        except PageChanged:
            return False

    def type(self, text: str) -> None:
        """Into the element that has the focus."""
        self._call("Input.insertText", {"text": text})

    def press(self, key: str) -> None:
        """A key of KEYS, a letter or a digit, as on a keyboard."""
        self.hold(key)
        self.let_go(key)

    def hold(self, key: str) -> None:
        """Press it and keep it pressed."""
        self._key("rawKeyDown", key)

    def let_go(self, key: str) -> None:
        """Its end."""
        self._key("keyUp", key)

    def _key(self, kind: str, key: str) -> None:
        number = KEYS[key] if key in KEYS else ord(key.upper())
        self._call("Input.dispatchKeyEvent", {"type": kind, "key": key, "windowsVirtualKeyCode": number})

    def prefer(self, scheme: str) -> None:
        """Light or dark colours, as the system of a person has them."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", {"features": [feature]})

    def set_cookie(self, url: str, name: str, value: str) -> None:
        """For pages of that address."""
        self._call("Network.setCookie", {"url": url, "name": name, "value": value})

    def screenshot(self, clip: tuple[float, float, float, float] | None = None) -> bytes:
        """The window, or the part of it at (x, y, width, height), as PNG."""
        parameters: dict[str, Any] = {"format": "png"}
        if clip is not None:
            parameters["clip"] = dict(zip(("x", "y", "width", "height"), clip, strict=True)) | {"scale": 1}
        return base64.b64decode(self._call("Page.captureScreenshot", parameters)["data"])

    def close(self) -> None:
        """End the browser."""
        self._session = None
        self._call("Browser.close")

    def _call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters or {}}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while True:
            answer = self._receive(method, deadline)
            if answer.get("id") == number:
                break
            self._listen(answer)
        if "error" in answer:
            message = answer["error"]["message"]
            kind = PageChanged if "navigated" in message or "context" in message else TransientError
            raise kind(f"the browser refused {method}: {message}")
        result: dict[str, Any] = answer["result"]
        return result

    def _listen(self, event: dict[str, Any]) -> None:
        values = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                found = values["exceptionDetails"]
                self.complaints.append(found.get("exception", {}).get("description", found["text"]))
            case "Runtime.consoleAPICalled" if values["type"] in ("error", "assert"):
                self.complaints.append(
                    " ".join(str(one.get("value", one.get("description"))) for one in values["args"])
                )
            case "Log.entryAdded" if values["entry"]["level"] == "error":
                self.complaints.append(f"{values['entry']['text']} ({values['entry'].get('url', '')})")

    def _receive(self, method: str, deadline: float) -> dict[str, Any]:
        """The next message: an answer, or an event."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._answers.fileno(), 1 << 16) if ready else b""
            if not chunk:
                raise TransientError(f"the browser does not answer {method}")
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextlib.contextmanager
def open_browser() -> Iterator[Page]:
    """A page in a browser with an empty profile; both are gone afterwards. Raises SettingsError without a Chromium."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise SettingsError(
            "pictures are made in a real browser, and there is none: `sudo apt-get install --no-install-recommends "
            "chromium fonts-dejavu-core`, then run this again"
        )
    with tempfile.TemporaryDirectory(prefix="sniffer-browser-", ignore_cleanup_errors=True) as profile:
        their_commands, our_commands = os.pipe()
        our_answers, their_answers = os.pipe()
        flags = [*_FLAGS, f"--user-data-dir={profile}"]
        browser = subprocess.Popen(
            ["bash", "-c", _WITH_PIPES, "bash", str(their_commands), str(their_answers), program, *flags],
            pass_fds=(their_commands, their_answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_commands)
        os.close(their_answers)
        try:
            with os.fdopen(our_commands, "wb") as commands, os.fdopen(our_answers, "rb", buffering=0) as answers:
                page = Page(commands, answers)
                yield page
                page.close()
        finally:
            try:
                browser.wait(10)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()
