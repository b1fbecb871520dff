"""What each kind of fault does to the world of a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from simulation.clockwork import Process
from simulation.database import CommitFault, Row
from simulation.plan import Fault, FaultKind
from simulation.strangers import LIAR, lie, visit
from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.decisions import decide
from sniffer.core.records import SETTLED

if TYPE_CHECKING:
    from simulation.history import History


def striker(history: History, fault: Fault) -> Callable[[], None]:
    """The event of that fault."""
    return lambda: _strike(history, fault)


def _strike(history: History, fault: Fault) -> None:
    if history.is_over:
        return
    history.say(f"FAULT: {fault.kind}" + (f" for {fault.lasts_s:g} s" if fault.lasts_s else ""))
    until, consumer = fault.ends_at, _consumer(history, fault.target)
    match fault.kind:
        case FaultKind.KILL_CONSUMER if consumer:
            consumer.kill()
        case FaultKind.KILL_DECODER if consumer and consumer in history.decoders:
            history.decoders[consumer].close()
        case FaultKind.STOP_CONSUMER if consumer:
            consumer.stop_until(until)
        case FaultKind.END_CONSUMER if consumer and consumer in history.loops:
            history.loops[consumer].stop()
        case FaultKind.KILL_PRODUCER if history.producer:
            history.producer.kill()
        case FaultKind.STOP_PRODUCER if history.producer:
            history.producer.stop_until(until)
        case FaultKind.END_PRODUCER if history.run:
            history.run.stop()
        case FaultKind.CUT | FaultKind.CUT_UNNOTICED | FaultKind.CUT_LINGERING if consumer:
            noticed_after_s = 0.0 if fault.kind is FaultKind.CUT else 5.0
            lingers = fault.kind is FaultKind.CUT_LINGERING
            history.network.cut(consumer.name.encode(), noticed_after_s=noticed_after_s, lingers=lingers)
        case FaultKind.SLOW_NETWORK:
            history.network.delay_s = 0.4
            history.clockwork.after(fault.lasts_s, lambda: setattr(history.network, "delay_s", 0.0))
        case FaultKind.DUPLICATES:
            history.network.duplicates = 0.3
            history.clockwork.after(fault.lasts_s, lambda: setattr(history.network, "duplicates", 0.0))
        case FaultKind.OLD_RELEASE | FaultKind.NEW_RELEASE:
            stranger = Process(history.clockwork, f"stranger-{fault.at_s}")
            protocol = 1 if fault.kind is FaultKind.OLD_RELEASE else 99
            stranger.spawn(lambda: visit(history, stranger, protocol))
        case FaultKind.LIAR:
            liar = Process(history.clockwork, f"{LIAR.decode()}-{fault.at_s}-{fault.target}")
            liar.spawn(lambda: lie(history, liar, until))
        case _:
            _strike_systems(history, fault, until)


def _strike_systems(history: History, fault: Fault, until: float) -> None:
    key = f"k{fault.target % max(1, len(history.plan.bodies)):02}"
    match fault.kind:
        case FaultKind.S3_AWAY:
            history.bucket.away_until = until
        case FaultKind.S3_SLOW:
            history.bucket.slow_until = until
        case FaultKind.DELETE:
            history.truth.touched.add(key)
            history.bucket.delete(key)
        case FaultKind.REPLACE if key in history.bucket.bodies:
            history.truth.touched.add(key)
            history.bucket.put(key, b"image, replaced")
        case FaultKind.DENY:
            history.bucket.denied.add(key)
        case FaultKind.DENY_ALL:
            history.bucket.all_denied_until = until
        case FaultKind.SERVING_AWAY:
            history.server.away_until = until
        case FaultKind.SERVING_SLOW:
            history.server.slow_until = until
        case FaultKind.DATABASE_AWAY:
            history.database.away_until = until
        case FaultKind.TORN | FaultKind.UNANSWERED | FaultKind.DEADLOCK | FaultKind.LOST:
            history.database.faults.append(CommitFault[fault.kind.name])
        case FaultKind.SECOND_RUN:
            history.run_twice()
        case FaultKind.OTHER_SCAN if key in history.bucket.bodies and not history.plan.rescan:
            image = history.bucket.listed(key)
            row = history.database.rows.get(image.identity)
            # The other scan decides as ours does: what is settled stays, and a locked row is waited for.
            if (row is None or row.result.outcome not in SETTLED) and image.identity not in history.database.locks:
                _store_elsewhere(history, key, row)


def _store_elsewhere(history: History, key: str, row: Row | None) -> None:
    """As another scan would, which remembers how the image counted in ours."""
    result, token = history.result_of(key), history.database.open("scan-2")
    decision = decide(row.decides if row else None, result, token=token, rescan=False, decoder_version=DECODER_VERSION)
    history.database.apply(result, decision, token)


def _consumer(history: History, target: int) -> Process | None:
    living = [process for process in history.consumers if process is not None and process.alive]
    return living[target % len(living)] if living else None
