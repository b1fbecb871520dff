"""Plans the shards of a bucket: asks its store what the planner wants to know, so many questions at once."""

from __future__ import annotations

import math
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Protocol

from sniffer.core.key_ranges import KeyRange
from sniffer.shards.planner import PlannedShard, Planner
from sniffer.shards.stores import FolderPage, FolderProbe, KeyPage, Probe, UnsortedStore

_COARSE = 16
AT_ONCE = 32
"""Questions that are under way at the same time, at most."""


class KeyStore(Protocol):
    """A store of objects, asked by many threads."""

    def keys_after(self, prefix: str, after: str) -> KeyPage:
        """The first page of the keys with the prefix that come after that one."""

    def folders(self, prefix: str) -> FolderPage:
        """The first page of the folders with the prefix, up to the next `/`."""


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Ranges that tile all keys, with the requests that it took to find them, and what is wrong with the store."""

    shards: tuple[PlannedShard, ...]
    requests: int
    warning: str = ""

    @property
    def keys(self) -> int:
        """About how many keys there are; 0 when that is not known."""
        return sum(shard.keys for shard in self.shards)


def plan_shards(store: KeyStore, prefix: str, shards: int, at_once: int = AT_ONCE) -> ShardPlan:
    """So many shards of what is under the prefix, of about the same size; fewer when there are few keys.

    One shard and a warning when the store does not list in the order of keys. Raises what the store raises.
    """
    planner = Planner(shards, prefix)
    requests = 0
    under_way: dict[Future[KeyPage | FolderPage], Probe | FolderProbe] = {}
    with ThreadPoolExecutor(at_once, "plan") as threads:
        try:
            while True:
                while len(under_way) < at_once and (probe := planner.next()) is not None:
                    under_way[threads.submit(_ask, store, prefix, probe)] = probe
                    requests += 1
                if not under_way:
                    return ShardPlan(tuple(planner.plan()), requests)
                for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                    planner.take(under_way.pop(done), done.result())
        except UnsortedStore as error:
            return ShardPlan((PlannedShard(KeyRange(), 0),), requests, f"{error}: it is one shard")
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def plan_by_size(store: KeyStore, prefix: str, keys: int, most: int, at_once: int = AT_ONCE) -> ShardPlan:
    """As many shards of what is under the prefix as make about so many keys each, but at most `most`.

    How many keys there are is found by a first, coarse plan. Raises what the store raises.
    """
    coarse = plan_shards(store, prefix, _COARSE, at_once)
    wanted = min(most, math.ceil(coarse.keys / keys))
    if wanted <= 1:
        return ShardPlan((PlannedShard(KeyRange(), coarse.keys),), coarse.requests, coarse.warning)
    plan = plan_shards(store, prefix, wanted, at_once)
    return replace(plan, requests=coarse.requests + plan.requests)


def _ask(store: KeyStore, prefix: str, probe: Probe | FolderProbe) -> KeyPage | FolderPage:
    return store.folders(probe.prefix) if isinstance(probe, FolderProbe) else store.keys_after(prefix, probe.after)
