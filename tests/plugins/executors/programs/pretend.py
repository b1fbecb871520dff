"""A small program that behaves like ours: flags, log lines on standard error, progress and report files."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--result", type=Path)
    parser.add_argument("--progress", type=Path)
    parser.add_argument("--exit-status", type=int, default=0)
    parser.add_argument("--say", action="append", default=[], help="a line for standard error, as it is")
    parser.add_argument("--tell", action="append", default=[], help="say the value of a variable: a leak")
    parser.add_argument("--die-by", type=int, help="kill itself with this signal")
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--family", type=Path, help="start children that hide, list everybody here, and stay")
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM, as do the children")
    parser.add_argument("--leave-a-child", type=Path, help="end with a child in a session of its own still running")
    args = parser.parse_args()
    for line in args.say:
        print(line, file=sys.stderr)
    for name in args.tell:
        print(f"{name} is {os.environ[name]}", file=sys.stderr)
    print("the result, for a person", flush=True)
    if args.progress:
        args.progress.write_text(json.dumps({"listed": 7, "done": 3}))
    if args.result and not args.no_report:
        args.result.write_text(json.dumps(_report()))
    if args.leave_a_child:
        args.leave_a_child.write_text(str(_start_sleeper(stubborn=True)))
    if args.family:
        _stay_with_family(args.family, stubborn=args.stubborn)
    if args.die_by:
        os.kill(os.getpid(), args.die_by)
    exit_status: int = args.exit_status
    return exit_status


def _report() -> dict[str, object]:
    return {
        "holds": True,
        "result_of": os.environ.get("SNIFFER_RESULT_OF"),
        "samples": [1, 2, 3],
        "argv": sys.argv[1:],
        "environ": dict(os.environ),
        "command_lines": [Path(f"/proc/{pid}/cmdline").read_text() for pid in (os.getpid(), os.getppid())],
        "session": os.getsid(0),
    }


def _stay_with_family(listing: Path, *, stubborn: bool) -> None:
    """A child, and a grandchild whose parent has gone; both in sessions of their own, as daemons are."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else signal.SIG_DFL)
    child = _start_sleeper(stubborn=stubborn)
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import pretend; "
    orphan = subprocess.run(
        [sys.executable, "-c", f"{code}print(pretend._start_sleeper(stubborn={stubborn}))"],
        stdout=subprocess.PIPE,
        check=True,
    )
    pids = [os.getpid(), os.getppid(), child, int(orphan.stdout)]
    listing.with_suffix(".part").write_text(json.dumps(pids))
    listing.with_suffix(".part").rename(listing)
    time.sleep(60)


def _start_sleeper(*, stubborn: bool) -> int:
    handler = "SIG_IGN" if stubborn else "SIG_DFL"
    code = f"import signal, time; signal.signal(signal.SIGTERM, signal.{handler}); print(flush=True); time.sleep(60)"
    sleeper = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    if sleeper.stdout is not None:
        sleeper.stdout.readline()
    return sleeper.pid


if __name__ == "__main__":
    sys.exit(main())
