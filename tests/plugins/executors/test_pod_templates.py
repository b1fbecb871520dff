"""Where pods' templates come from: our own k8s/, or a folder of the operator's laid out like it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

from sniffer.core.errors import SettingsError
from sniffer_airflow.executors import orphans, sweeper, templates


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


def test_the_sweeper_looks_wherever_a_template_starts_pods(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert templates.namespaces() == ["sniffer"]
    shutil.copytree(repository / "k8s", tmp_path / "k8s")
    monkeypatch.setenv(templates.TEMPLATES_VARIABLE, str(tmp_path / "k8s"))
    trainer = tmp_path / "k8s" / "pods" / "trainer.yaml"
    text = trainer.read_text()
    trainer.write_text(text.replace("namespace: sniffer", "namespace: gpus"))
    looked: list[str] = []
    monkeypatch.setattr(orphans, "remove_orphans", lambda api, namespace, states, log, own: looked.append(namespace))
    sweeper.sweep(None, None)
    assert looked == ["gpus", "sniffer"]
    trainer.write_text(text.replace("namespace: sniffer", ""))
    with pytest.raises(SettingsError, match=r"pods/trainer.yaml has no metadata.namespace"):
        sweeper.sweep(None, None)


def test_a_folder_without_templates_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(templates.TEMPLATES_VARIABLE, str(tmp_path))
    with pytest.raises(SettingsError, match=f"no pod templates in {tmp_path}/pods: set SNIFFER_POD_TEMPLATES"):
        templates.pod_template("sniffer")


@pytest.mark.parametrize(
    ("words", "cpu", "memory", "limit"),
    [
        ([], "2", "4Gi", "8Gi"),
        (["--consumers=4"], "2000m", "4096Mi", "8192Mi"),
        (["--consumers=1"], "800m", "1639Mi", "3277Mi"),
        (["--consumers=1", "--consumers=9"], "4000m", "8192Mi", "16384Mi"),
    ],
)
def test_a_pod_has_room_for_the_producer_and_as_many_consumers_as_are_asked_for(
    words: list[str], cpu: str, memory: str, limit: str
) -> None:
    """The template's resources are for the consumers that it names."""
    [container] = PodGenerator.deserialize_model_dict(templates.pod_template("sniffer")).spec.containers
    templates.fit_consumers(container, words)
    assert container.resources.requests == {"cpu": cpu, "memory": memory}
    assert container.resources.limits == {"memory": limit}
