"""A consumer's decoder: asks its decoder process for each image, replaces it when it dies, and says what that means.

A file that costs too much, or ends the process every time, gets a verdict like any other file that cannot be read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from sniffer.core.errors import TransientError, UnreadableImage
from sniffer.decoding.frames import RenderedPicture

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""So often a file must end the process, each time a new one: a process may also be killed by somebody else."""


class DecoderDied(Exception):
    """The process is of no use any more; `cpu_s` is what it had used of the image's budget."""

    def __init__(self, why: str, cpu_s: float) -> None:
        super().__init__(why)
        self.cpu_s = cpu_s


class OverCpuLimit(DecoderDied):
    """It was ended for having used up its CPU seconds."""


class OverMemoryLimit(DecoderDied):
    """It could have no more memory. `is_fresh`: the image was its first, so that nothing else had taken any."""

    def __init__(self, why: str, cpu_s: float, *, is_fresh: bool) -> None:
        super().__init__(why, cpu_s)
        self.is_fresh = is_fresh


class Decoder(Protocol):
    """One decoder process."""

    def render(self, body: bytes, cpu_s: float) -> RenderedPicture:
        """The picture in these bytes. Raises UnreadableImage; DecoderDied, and after that nothing else."""

    def close(self) -> None:
        """End it."""


class CagedDecoder:
    """Decodes by a process that `start` makes, which is replaced whenever it dies. For one thread at a time.

    `cpu_s`: CPU seconds for one image, over all attempts.
    """

    def __init__(self, start: Callable[[], Decoder], *, cpu_s: float) -> None:
        self._start = start
        self._cpu_s = cpu_s
        self._decoder = start()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        self._decoder.close()

    def render(self, body: bytes) -> RenderedPicture:
        """The picture in these bytes.

        Raises UnreadableImage with the decoder's own codes; over_cost_limit when it needs more CPU or memory than it
        may; decoder_crashed when it ended every process that tried. TransientError when no process can be started.
        """
        left_s, attempt = self._cpu_s, 0
        while True:
            attempt += 1
            try:
                return self._decoder.render(body, left_s)
            except DecoderDied as death:
                if self._is_closed:
                    raise TransientError("the decoder was closed") from death
                self._replace()
                left_s -= death.cpu_s
                self._judge(death, left_s, attempt)

    def _replace(self) -> None:
        self._decoder.close()
        self._decoder = self._start()

    def _judge(self, death: DecoderDied, left_s: float, attempt: int) -> None:
        """Raise the verdict on the image, if there is one already."""
        if isinstance(death, OverCpuLimit) or left_s <= 0:
            raise UnreadableImage("over_cost_limit", f"decoding takes more than {self._cpu_s:g} CPU seconds") from death
        if isinstance(death, OverMemoryLimit) and death.is_fresh:
            raise UnreadableImage("over_cost_limit", str(death)) from death
        if attempt == ATTEMPTS:
            raise UnreadableImage("decoder_crashed", f"it ended the decoder {attempt} times: {death}") from death
        log.warning("the decoder ended (%s): trying the image again in a new one", death)
