"""A simulated network that does what ZeroMQ's ROUTER and DEALER do over TCP, and loses what they would lose.

Messages of one connection arrive in their order. A consumer connects again by itself and keeps what it is told to send
meanwhile; what was under way when a connection broke is gone, in both directions. The producer may learn of the break
late, and sends into the void until then. A connection that was replaced may still speak, under a name nobody knows.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator

from simulation.clockwork import Clockwork, Process, Thread
from sniffer.scan.channel import ConsumerLost
from sniffer.scan.messages import FromConsumer, FromProducer, ToProducer, encode, from_consumer, from_producer

RECONNECT_S = (0.05, 0.6)
"""Bounds of the pause before a consumer tries to connect again."""
NO_NAME = b"\x00"
"""Begins the names that a ROUTER makes up itself."""
LATENCY_S = (0.0002, 0.002)


class Network:
    """What lies between the ends: at most one producer listens, consumers come and go."""

    def __init__(self, clockwork: Clockwork, rng: random.Random) -> None:
        self.clockwork = clockwork
        self.rng = rng
        self.producer: ProducerEnd | None = None
        self.consumers: dict[bytes, ConsumerEnd] = {}
        self.delay_s = 0.0
        self.duplicates = 0.0
        self.watch_producer: Callable[[bytes, FromConsumer], None] = lambda _name, _message: None
        self.watch_sent: Callable[[bytes, FromProducer], None] = lambda _name, _message: None

    def latency_s(self) -> float:
        """How long one message travels."""
        low, high = LATENCY_S
        return low + (high - low) * self.rng.random() + self.delay_s * self.rng.random()

    def copies(self) -> int:
        """How often a message arrives. ZeroMQ never doubles one; our loops must not mind if something between does."""
        return 2 if self.duplicates and self.rng.random() < self.duplicates else 1

    def cut(self, name: bytes, *, noticed_after_s: float, lingers: bool) -> None:
        """Break the connection of that consumer. With `lingers`, what it had sent arrives late under no known name."""
        consumer = self.consumers.get(name)
        if consumer is not None and consumer.connection is not None:
            connection, consumer.connection = consumer.connection, None
            connection.break_off(noticed_after_s, lingers)
            consumer.connect_later()


class Connection:
    """One TCP connection; in each direction first in, first out."""

    def __init__(self, network: Network, consumer: ConsumerEnd, producer: ProducerEnd) -> None:
        self._network = network
        self._consumer = consumer
        self._producer = producer
        self._arrivals = [0.0, 0.0]
        self._name = consumer.name
        self._is_broken = False
        self._lingers = False

    def to_producer(self, frames: list[bytes]) -> None:
        """Carry a message to the producer."""
        self._carry(0, lambda: self._arrive_at_producer(frames))

    def to_consumer(self, frames: list[bytes]) -> None:
        """Carry a message to the consumer."""
        self._carry(1, lambda: self._arrive_at_consumer(frames))

    def break_off(self, noticed_after_s: float, lingers: bool) -> None:
        """What is under way is lost, or lingers; the producer notices so much later."""
        self._is_broken, self._lingers = True, lingers
        if lingers:
            self._name = NO_NAME + self._network.rng.randbytes(4)
        self._network.clockwork.after(noticed_after_s, lambda: self._producer.forget(self._consumer.name, self))

    def _carry(self, direction: int, arrive: Callable[[], None]) -> None:
        network = self._network
        for _ in range(network.copies()):
            due = max(self._arrivals[direction], network.clockwork.now + network.latency_s())
            self._arrivals[direction] = due
            network.clockwork.after(due - network.clockwork.now, arrive)

    def _arrive_at_producer(self, frames: list[bytes]) -> None:
        if not self._is_broken or self._lingers:
            self._producer.deliver(self._name, frames)

    def _arrive_at_consumer(self, frames: list[bytes]) -> None:
        if not self._is_broken:
            self._consumer.deliver(frames)


class _End:
    """What both ends share: waiting for something to arrive."""

    def __init__(self, network: Network, process: Process) -> None:
        self.network = network
        self.process = process
        self.endpoint = "sim://fleet"
        self._waiting: Thread | None = None
        self._is_awake = False

    def wait(self, timeout_s: float) -> None:
        """Wait until something has arrived or `wake` is called, but at most so long."""
        if not self._is_awake:
            thread = self.network.clockwork.this_thread()
            self._waiting = thread
            thread.resume_after(timeout_s)
            thread.park()
            self._waiting = None
        self._is_awake = False

    def wake(self) -> None:
        """End the current wait, or the next one."""
        self._is_awake = True
        if self._waiting is not None:
            self._waiting.resume_after(0.0)


class ProducerEnd(_End):
    """A ROUTER that must route and hands over names."""

    def __init__(self, network: Network, process: Process) -> None:
        super().__init__(network, process)
        self.connections: dict[bytes, Connection] = {}
        self.before_wait: Callable[[], None] = lambda: None
        self._arrived: deque[tuple[bytes, list[bytes]]] = deque()
        network.producer = self
        process.at_end.append(self.close)

    def close(self) -> None:
        """No more connections: every consumer notices and tries again."""
        if self.network.producer is self:
            self.network.producer = None
        for name in list(self.connections):
            self.network.cut(name, noticed_after_s=0.0, lingers=False)

    def wait(self, timeout_s: float) -> None:
        """Wait until something has arrived or `wake` is called, but at most so long."""
        self.before_wait()
        super().wait(timeout_s)

    def receive(self) -> Iterator[tuple[bytes, FromConsumer]]:
        """What has arrived, as (consumer, message), without waiting."""
        while self._arrived:
            name, frames = self._arrived.popleft()
            message = from_consumer(frames)
            self.network.watch_producer(name, message)
            yield name, message

    def send(self, name: bytes, message: FromProducer) -> None:
        """Send without waiting; raises ConsumerLost when that consumer is not connected."""
        connection = self.connections.get(name)
        if connection is None:
            raise ConsumerLost("no route")
        self.network.watch_sent(name, message)
        connection.to_consumer(encode(message))

    def deliver(self, name: bytes, frames: list[bytes]) -> None:
        """A message arrives."""
        if self.process.alive:
            self._arrived.append((name, frames))
            self.wake()

    def forget(self, name: bytes, connection: Connection) -> None:
        """The operating system says that the connection is gone."""
        if self.connections.get(name) is connection:
            del self.connections[name]


class ConsumerEnd(_End):
    """A DEALER: connects by itself, and keeps what is to be sent until it is connected."""

    def __init__(self, network: Network, process: Process, name: bytes) -> None:
        super().__init__(network, process)
        self.name = name
        self.connection: Connection | None = None
        self.machine_stays = False
        """If the process dies, its machine does not: the other end is told at once."""
        self._outbox: list[list[bytes]] = []
        self._arrived: deque[list[bytes]] = deque()
        network.consumers[name] = self
        process.at_end.append(self._vanish)
        self.connect_later()

    def receive(self) -> Iterator[FromProducer]:
        """What has arrived, without waiting. Raises ContractError for what is not of our protocol."""
        while self._arrived:
            yield from_producer(self._arrived.popleft())

    def send(self, message: ToProducer) -> None:
        """Queue for the producer; never blocks."""
        self.send_frames(encode(message))

    def send_frames(self, frames: list[bytes]) -> None:
        """Queue frames, which may be another release's."""
        if self.connection is None:
            self._outbox.append(frames)
        else:
            self.connection.to_producer(frames)

    def deliver(self, frames: list[bytes]) -> None:
        """A message arrives."""
        if self.process.alive:
            self._arrived.append(frames)
            self.wake()

    def connect_later(self) -> None:
        """Connect after a pause, again and again until a producer listens."""
        low, high = RECONNECT_S
        self.network.clockwork.after(low + (high - low) * self.network.rng.random(), self._connect)

    def close(self) -> None:
        """Deliver what can be delivered, then go: what is under way still arrives."""
        connection, self.connection = self.connection, None
        self.network.consumers.pop(self.name, None)
        if connection is not None and self.network.producer is not None:
            # As much later as the last message needs.
            self.network.clockwork.after(0.01 + self.network.delay_s, lambda: connection.break_off(0.0, False))

    def _vanish(self) -> None:
        """The process was killed: what it had written to the connection may still arrive, or not."""
        self.network.consumers.pop(self.name, None)
        if self.connection is not None:
            noticed_after_s = self.network.rng.choice((0.0, 0.001) if self.machine_stays else (0.0, 0.001, 5.0))
            connection, self.connection = self.connection, None
            wait_s = self.network.rng.choice((0.0, 0.001))
            self.network.clockwork.after(wait_s, lambda: connection.break_off(noticed_after_s, False))

    def _connect(self) -> None:
        if not self.process.alive or self.connection is not None or self.network.consumers.get(self.name) is not self:
            return
        producer = self.network.producer
        if producer is None:
            self.connect_later()
            return
        self.connection = producer.connections[self.name] = Connection(self.network, self, producer)
        outbox, self._outbox = self._outbox, []
        for frames in outbox:
            self.connection.to_producer(frames)
