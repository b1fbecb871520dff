"""The servers that a test may run on."""

from __future__ import annotations

from sniffer_local.mariadb import MariaDb
from sniffer_local.mysql import MySql

DatabaseServer = MariaDb | MySql
