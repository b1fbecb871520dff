from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from sniffer.contracts import IMAGE_SHAPE, ContractError, TransientError
from sniffer_local.processes import free_port
from sniffer_local.serving import prove_served, wait_until_served
from sniffer_model.golden import GoldenExample, GoldenImage, write_golden

SCORES = (0.25, 0.875)


class Answer(BaseHTTPRequestHandler):
    """A model server that gives every batch the same scores: those of the class attribute."""

    scores = SCORES

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"predictions": self.scores}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    directory = tmp_path / "3"
    directory.mkdir()
    image = GoldenImage("other", b"\xff\xd8\xff", ".jpg", np.zeros(IMAGE_SHAPE, np.uint8))
    write_golden([GoldenExample(image, score, score) for score in SCORES], directory)
    return directory


def test_a_server_that_scores_as_in_training_is_proved(port: int, published: Path) -> None:
    assert prove_served(port, published) == len(SCORES)


def test_a_server_that_scores_otherwise_is_refused(port: int, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answer, "scores", (0.25, 0.88))
    with pytest.raises(ContractError, match=r"version 3 scores golden example 1 0\.8800, not 0\.8750"):
        prove_served(port, published)


def test_waiting_for_a_server_that_never_comes_ends() -> None:
    with pytest.raises(TransientError):
        wait_until_served(free_port(), 1, limit_s=0.5)
