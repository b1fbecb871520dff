"""What every HTTP call of ours to a foreign server keeps to, over `requests`: a time for all of it, and a size.

For calls whose answer is small. The adapters of S3 and of the model server have bounds of their own.
"""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, PoolManager

from sniffer.core.socket_deadline import SocketDeadline

MAX_ANSWER_BYTES = 4 << 20
_PIECE_BYTES = 1 << 16


class BoundedAdapter(HTTPAdapter):
    """Answers of at most `answer_bytes`, within `call_s` from the first connection to the last byte of the body.

    Time for names to be looked up, which has the resolver's own bounds, is not counted. Each redirection is a call.
    Raises requests.Timeout, or requests.exceptions.ContentDecodingError for an answer that is too long or compressed.
    """

    def __init__(self, call_s: float, answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._deadline = SocketDeadline(call_s)
        self._answer_bytes = answer_bytes
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests does, with connections that the deadline watches."""
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """As requests does, with connections that the deadline watches."""
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            self._watch(manager)
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """The answer with its whole body."""
        # One compressed kilobyte can be a megabyte.
        request.headers["Accept-Encoding"] = "identity"
        # A connection that is kept would be one that nothing watches.
        request.headers["Connection"] = "close"
        # By position or by name, whatever the caller asks for: the body is read here.
        names = ("stream", "timeout", "verify", "cert", "proxies")
        words = dict(zip(names, args, strict=False)) | kwargs | {"stream": True}
        with self._deadline as deadline:
            try:
                answer = super().send(request, **words)
                self._read(answer)
            except Exception as error:
                if deadline.is_over:
                    raise self._too_slow(request) from error
                raise
        # Where the end of the connection is the end of the body, what was cut off looks whole.
        if deadline.is_over:
            raise self._too_slow(request)
        return answer

    def _too_slow(self, request: requests.PreparedRequest) -> requests.Timeout:
        return requests.Timeout(f"the call did not end within {self._deadline.duration_s:g} s", request=request)

    def _read(self, answer: requests.Response) -> None:
        with answer:
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise requests.exceptions.ContentDecodingError("an answer that is compressed, which was not asked for")
            content = bytearray()
            for piece in answer.iter_content(_PIECE_BYTES):
                content += piece
                if len(content) > self._answer_bytes:
                    raise requests.exceptions.ContentDecodingError(f"an answer of more than {self._answer_bytes} bytes")
        # What `requests` itself sets once it has read a body.
        answer._content = bytes(content)

    def _watch(self, manager: PoolManager) -> None:
        """Have its connections watched, of whatever kind they are: those through SOCKS are its own."""
        deadline = self._deadline

        class WatchedConnection:
            def _new_conn(self: Any) -> Any:
                limit_s = self.timeout
                self.timeout = deadline.attempt_s(self._dns_host, self.port, limit_s)
                try:
                    sock = super()._new_conn()  # type: ignore[misc]
                finally:
                    self.timeout = limit_s
                sock.settimeout(limit_s)
                deadline.watch(sock)
                return sock

        def watched(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
            # With the names that errors show.
            connection = type(pool.ConnectionCls.__name__, (WatchedConnection, pool.ConnectionCls), {})
            return type(pool.__name__, (pool,), {"ConnectionCls": connection})

        manager.pool_classes_by_scheme = {
            scheme: watched(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
        }
