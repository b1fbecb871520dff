"""Defects that the simulation must find: each a replacement in one file of the scan, and what it would do to a user."""

from __future__ import annotations

from simulation.defects import ledger, loops, results

DEFECTS = (*ledger.DEFECTS, *loops.DEFECTS, *results.DEFECTS)
