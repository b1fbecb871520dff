"""Where pods' templates come from: our own k8s/, or a folder of the operator's laid out like it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sniffer.core.errors import SettingsError
from sniffer_airflow.executors import templates


def test_in_a_checkout_they_are_those_of_k8s(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(templates.TEMPLATES_VARIABLE, raising=False)
    assert templates.manifests() == repository / "k8s"


def test_a_folder_of_ones_own_takes_their_place(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(repository / "k8s", tmp_path / "k8s")
    images = tmp_path / "k8s" / "components" / "images" / "kustomization.yaml"
    images.write_text("images: [{name: sniffer-bot/fleet, newName: registry.example/fleet, newTag: mine}]")
    monkeypatch.setenv(templates.TEMPLATES_VARIABLE, str(tmp_path / "k8s"))
    template = templates.pod_template("sniffer")
    assert template["spec"]["containers"][0]["image"] == "registry.example/fleet:mine"


def test_a_folder_without_templates_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(templates.TEMPLATES_VARIABLE, str(tmp_path))
    with pytest.raises(SettingsError, match=f"no pod templates in {tmp_path}/pods: set SNIFFER_POD_TEMPLATES"):
        templates.pod_template("sniffer")
