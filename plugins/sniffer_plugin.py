"""The entry point of our Airflow plugin. An editable install holds a copy of this file, so nothing else is in it."""

from sniffer_airflow.plugin import SnifferPlugin

__all__ = ["SnifferPlugin"]
