"""`python -m simulation`: play many histories on all cores, or one again with its story.

python -m simulation --histories 200000
python -m simulation --seed 4711
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing import Pool

from simulation.history import check
from simulation.plan import plan_of
from simulation.shrink import shrink

_CHUNK = 200
_SHOWN_FAILURES = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1 when a history failed."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=20_000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (default: %(default)s)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="play this one alone: tell its story, and shrink it")
    flags = parser.parse_args(argv)
    return _tell(flags.seed) if flags.seed is not None else _play_many(flags.first, flags.histories)


def _tell(seed: int) -> int:
    plan = plan_of(seed)
    finished = check(plan)
    if finished.violation is not None:
        plan = shrink(plan)
        print(f"seed {seed} fails: {finished.violation}\nshrunk to:")
    finished = check(plan, tell=True)
    print(plan, *finished.lines, finished.violation or "nothing is wrong with it", sep="\n")
    return 1 if finished.violation else 0


def _play_many(first: int, count: int) -> int:
    started_at, played, failures = time.monotonic(), 0, 0
    with Pool(len(os.sched_getaffinity(0))) as pool:
        for chunk, failed in pool.imap_unordered(_play, _chunks(first, count)):
            played += chunk
            failures += len(failed)
            for seed, violation in failed:
                print(f"\nseed {seed} fails: {violation}", flush=True)
            rate = played / (time.monotonic() - started_at) * 3600
            print(f"\r{played} of {count} histories, {rate:,.0f} an hour, {failures} failed", end="", flush=True)
            if failures >= _SHOWN_FAILURES:
                break
    print()
    if failures:
        print("replay one, shrunk, with its story: make simulate SEED=…")
    return 1 if failures else 0


def _play(seeds: range) -> tuple[int, list[tuple[int, str]]]:
    failed = [(seed, violation) for seed in seeds if (violation := check(plan_of(seed)).violation)]
    return len(seeds), failed


def _chunks(first: int, count: int) -> Iterator[range]:
    return (range(start, min(start + _CHUNK, first + count)) for start in range(first, first + count, _CHUNK))


if __name__ == "__main__":
    sys.exit(main())
