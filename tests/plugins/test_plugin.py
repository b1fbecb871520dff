"""Airflow loads our plugin once, by its entry point, though its folder of plugins is ours as well."""

from __future__ import annotations

from airflow.configuration import conf
from airflow.plugins_manager import get_import_errors, get_plugin_info
from support.imports import CHECKOUT


def test_the_plugin_is_loaded_once(airflow_database: None) -> None:
    assert conf.get("core", "plugins_folder") == str(CHECKOUT / "plugins")
    ours = [plugin for plugin in get_plugin_info() if plugin["name"] == "sniffer"]
    assert ["sniffer_plugin:SnifferPlugin" in str(plugin["source"]) for plugin in ours] == [True]
    assert get_import_errors() == {}
