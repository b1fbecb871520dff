"""Which models to serve: from the flags, or from TensorFlow Serving's ModelServerConfig text file, to `ModelEntry`s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format  # type: ignore[import-untyped]
from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer_serve.versions import All, Latest, Specific, VersionPolicy

_PLATFORM = "tensorflow"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model to serve; `base_path` holds its numbered version folders, `labels` name some of the numbers."""

    name: str
    base_path: Path
    policy: VersionPolicy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)


def read_model_config(path: Path) -> list[ModelEntry]:
    """Read a ModelServerConfig in text form; raises SettingsError with the file's name when it is not one."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--model_config_file: cannot read {str(path)!r}: {error}") from error
    try:
        return parse_model_config(text)
    except SettingsError as error:
        raise SettingsError(f"--model_config_file {str(path)!r}: {error}") from error


def parse_model_config(text: str) -> list[ModelEntry]:
    """The models of a ModelServerConfig in text form; raises SettingsError, as TensorFlow Serving would refuse it."""
    try:
        config = text_format.Parse(text, config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise SettingsError(f"not a ModelServerConfig in text form: {one_line(error)}") from error
    match config.WhichOneof("config"):
        case None:  # also a file that is just being written
            raise SettingsError("there is no model_config_list in it")
        case "custom_model_config":
            raise SettingsError("custom_model_config is not supported; list the models in model_config_list")
    entries = [_model_entry(model) for model in config.model_config_list.config]
    names = [entry.name for entry in entries]
    for name in sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"model {name!r} is listed more than once; keep one entry")
    return entries


def _model_entry(model: config_pb2.ModelConfig) -> ModelEntry:
    if not model.name:
        raise SettingsError('a model has no name; add `name: "..."`')
    if not Path(model.base_path).is_absolute():
        raise SettingsError(f"model {model.name!r}: base_path must be an absolute path, not {model.base_path!r}")
    if model.model_platform != _PLATFORM and model.model_type != config_pb2.TENSORFLOW:
        raise SettingsError(f'model {model.name!r}: model_platform must be "{_PLATFORM}", not "{model.model_platform}"')
    return ModelEntry(model.name, Path(model.base_path), _version_policy(model), dict(model.version_labels))


def _version_policy(model: config_pb2.ModelConfig) -> VersionPolicy:
    policy = model.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "specific":
            if not policy.specific.versions:
                raise SettingsError(f"model {model.name!r}: model_version_policy specific names no version")
            return Specific(frozenset(policy.specific.versions))
        case "all":
            return All()
        case _:
            return Latest(max(policy.latest.num_versions, 1))
