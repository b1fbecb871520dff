"""No DAG: the import error of this file says, in Airflow's UI and at once, which sources of the table are wrong.

In the file of the sources' DAGs it would stop all of them.
"""

from __future__ import annotations

from sniffer_airflow.scan.source_dags import refuse_wrong_sources

refuse_wrong_sources()
