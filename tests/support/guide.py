"""The commands of a document, and whether they are ones that their tools take."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import botocore.session
from botocore import xform_name

from support.manifests import KUBECTL

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:kubectl|aws|helm|eksctl|python3) [^`]+)`")
_HEREDOC = re.compile(r"<<'?(\w+)'?\n.*?^\1$", re.MULTILINE | re.DOTALL)
_NOT_OF_AN_OPERATION = {"query", "output", "region", "no-cli-pager"}


def blocks(document: Path) -> list[str]:
    """Its blocks of shell, as they are written."""
    return _BLOCK.findall(document.read_text(encoding="utf-8"))


def commands(document: Path, tool: str) -> Iterator[list[str]]:
    """The words of each command of that tool, in blocks, in what they substitute, and between backticks."""
    text = document.read_text(encoding="utf-8")
    for source in [*blocks(document), *(found.replace("\n", " ") for found in _INLINE.findall(text))]:
        joined = _HEREDOC.sub("", source.replace("\\\n", " ")).replace("$(", "\n")
        for match in re.finditer(rf"(?:^|[|;&({{]|do ) *({tool} [^\n|;&)#]*)", joined, re.MULTILINE):
            yield [word for word in re.split(r"\s+", match[1].strip()) if word]


def bash_refuses(block: str) -> str:
    """What bash says of a block that it cannot read; empty: it can."""
    return subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, timeout=20, check=False).stderr


def unknown_kubectl_flags(words: list[str]) -> list[str]:
    """Flags that kubectl does not take with that command."""
    verbs = [word for word in words[1:] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
    flags = [
        flag for word in _own(words[1:]) if re.match(r"--?[a-zA-Z]", word) for flag in _each(word.partition("=")[0])
    ]
    texts = [
        _kubectl_help(()),
        *(_kubectl_help(tuple(verbs[at : at + length])) for length in (1, 2, 3) for at in (0, 1)),
    ]
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", " ".join(texts)))
    return [flag for flag in flags if flag not in known]


def _own(words: list[str]) -> list[str]:
    """What is kubectl's own, and not of the command that it starts in a pod."""
    return words[: words.index("--")] if "--" in words else words


def _each(flag: str) -> list[str]:
    """One flag, or the letters of several that are written as one: -it."""
    return [flag] if flag.startswith("--") else [f"-{letter}" for letter in flag[1:]]


@functools.cache
def _kubectl_help(verbs: tuple[str, ...]) -> str:
    command = [str(KUBECTL), *verbs, "--help"] if verbs else [str(KUBECTL), "options"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def unknown_aws_parameters(words: list[str]) -> list[str]:
    """What AWS's own description of the operation does not know, the operation or a parameter, and what it misses."""
    _, service, operation, *rest = words
    if service in ("s3", "eks") and operation in ("mb", "rm", "update-kubeconfig"):
        return []  # made of several operations
    if operation == "wait":
        operation, rest = {"db-instance-available": "describe-db-instances"}[rest[0]], rest[1:]
    if operation == "get-login-password":
        operation = "get-authorization-token"
    model = _service(service.removesuffix("api"))
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return [f"{service} {operation}"]
    shape = model.operation_model(names[operation]).input_shape
    known = {xform_name(name, "-") for name in (shape.members if shape is not None else {})}
    given = [word[2:].partition("=")[0] for word in rest if word.startswith("--")]
    unknown = [
        f"{service} {operation} --{name}"
        for name in given
        if name.removeprefix("no-") not in known and name not in _NOT_OF_AN_OPERATION | _SHORTHANDS
    ]
    required = [xform_name(name, "-") for name in (shape.required_members if shape is not None else ())]
    return unknown + [f"{service} {operation} lacks --{name}" for name in required if name not in given]


_SHORTHANDS = {"protocol", "port", "source-group"}
"""Of ec2's authorize-security-group-ingress: AWS's command makes IpPermissions of them."""


@functools.cache
def _service(name: str) -> botocore.model.ServiceModel:
    return botocore.session.get_session().get_service_model(name)
