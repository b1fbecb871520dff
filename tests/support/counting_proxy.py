"""A proxy before the model server that counts what each picture is scored."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from urllib.parse import urlsplit

import urllib3

from support.http_server import HttpAnswer, HttpRequest, HttpServer

_PICTURE = re.compile(rb'\{"b64":"([^"]+)"\}')


class CountingProxy(HttpServer):
    """Passes requests on, and remembers by its digest how often each picture was answered for."""

    def __init__(self, server_url: str) -> None:
        self.scored: Counter[bytes] = Counter()
        self._upstream = urlsplit(server_url)
        self._pool = urllib3.PoolManager(maxsize=16)
        self._lock = threading.Lock()
        super().__init__()
        self.model_url = self.url + self._upstream.path
        """What clients ask instead of the server's URL."""

    @property
    def again(self) -> int:
        """How many pictures were scored more than once, counting each time after the first."""
        with self._lock:
            return sum(times - 1 for times in self.scored.values())

    def respond(self, request: HttpRequest) -> HttpAnswer:
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        url = f"{self._upstream.scheme}://{self._upstream.netloc}{request.path}"
        answer = self._pool.request(request.method, url, body=request.body or None, headers=headers, retries=False)
        with self._lock:
            self.scored.update(hashlib.sha256(found).digest() for found in _PICTURE.findall(request.body))
        kind = answer.headers.get("Content-Type", "application/json")
        return HttpAnswer(answer.status, answer.data, [("Content-Type", kind)])
