"""What the loops of producer and consumer need of the world around them: a channel and a clock.

The programs give them ZeroMQ and the monotonic clock; the simulation gives them a network and a time of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from sniffer.scan.messages import FromConsumer, FromProducer, ToProducer

Clock = Callable[[], float]
"""Seconds that never go back, from any start."""


class ConsumerLost(ConnectionError):
    """The consumer this was sent to is not connected any more: give its images to others."""


class ProducerChannel(Protocol):
    """The producer's end: speaks to each consumer by its name."""

    @property
    def endpoint(self) -> str:
        """Where consumers connect, for messages to people."""

    def wait(self, timeout_s: float) -> None:
        """Wait until something has arrived or `wake` is called, but at most so long."""

    def wake(self) -> None:
        """End the current wait, or the next one. Safe from any thread."""

    def receive(self) -> Iterable[tuple[bytes, FromConsumer]]:
        """What has arrived, as (consumer, message), without waiting; perhaps not all of it at once."""

    def send(self, name: bytes, message: FromProducer) -> None:
        """Send without waiting; raises ConsumerLost when that consumer is not connected."""


class ConsumerChannel(Protocol):
    """A consumer's end: speaks to the one producer, and connects again by itself."""

    @property
    def endpoint(self) -> str:
        """Where the producer is, for messages to people."""

    def wait(self, timeout_s: float) -> None:
        """Wait until something has arrived or `wake` is called, but at most so long."""

    def wake(self) -> None:
        """End the current wait, or the next one. Safe from any thread."""

    def receive(self) -> Iterable[FromProducer]:
        """What has arrived, without waiting. Raises ContractError for what is not of our protocol."""

    def send(self, message: ToProducer) -> None:
        """Queue for the producer; never blocks."""
