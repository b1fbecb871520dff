"""All tables that the code knows: a program loads only those of the repositories that it uses."""

from __future__ import annotations

import importlib
import pkgutil

from sqlalchemy import MetaData

from sniffer.adapters import mysql
from sniffer.adapters.mysql import schema


def all_tables() -> MetaData:
    """The metadata after every module of the adapter is loaded, but for the migrations."""
    for module in pkgutil.walk_packages(mysql.__path__, f"{mysql.__name__}."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)
    return schema.metadata
