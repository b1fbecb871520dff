"""Takes any flags of a program, hands on what STAND_IN_RESULTS holds under a name, with its flags as `argv`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path


def run(name: str, result_flag: str) -> int:
    """Exit status 2 where there is no result of that name."""
    parser = argparse.ArgumentParser()
    parser.add_argument(result_flag, dest="result", type=Path, required=True)
    flags, others = parser.parse_known_args()
    with Path(os.environ["STAND_IN_CALLS"]).open("a") as calls:
        calls.write(f"{name}\n")
    results = json.loads(os.environ["STAND_IN_RESULTS"])
    if name not in results:
        print(f"{name}: there is nothing to read", file=sys.stderr)
        return 2
    made_for = os.environ.get("SNIFFER_RESULT_OF")
    flags.result.write_text(json.dumps({"argv": others, "result_of": made_for, **results[name]}))
    return 0
