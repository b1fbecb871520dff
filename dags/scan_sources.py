"""
#### What this is

One of the sources in the table of `SNIFFER_SOURCES_FILE`, or of the Variable `sniffer_sources`. Each has a DAG of
its own, `scan_` and its name, with its own history, pause and backfill, over the graph of `scan_bucket`: plan,
shards, scan, certify. The page *Docs* of `scan_bucket` explains the steps, and what to do if something goes wrong;
it holds here as well, but that bucket and prefix come from the table.

* **Change it**: in the table; the next run is planned by it.
* **Leave it out for some nights**: pause this DAG. The summary shows it as missing, and says that it is paused.
* **Scan it now**: *Trigger*. An empty form scans all of it, whenever modified.
* **Scan days of the past**:

      airflow backfill create --dag-id scan_NAME \\
          --from-date 2026-11-01 --to-date 2026-11-07

* **Take it away**: out of the table. Results stay in MySQL, and its runs in Airflow until you delete the DAG there.

Its scans run in the pool `sniffer_scan`, at most `at_a_time` at once, those of backfills in the pool
`sniffer_backfill`. The DAG `scan_summary` tells each morning which source is missing, late, held or failed. All fields
of the table: the page `docs/sources.md`.
"""

from __future__ import annotations

from sniffer_airflow.scan.source_dags import source_dags

# They register themselves with Airflow as they are made.
source_dags(__doc__ or "")
