"""Whatever the documents name exists: links and anchors, paths, make targets, command lines, variables, messages."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from sniffer import cli
from sniffer.core.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "k8s/README.md")
)
PAGES = [document for document in DOCUMENTS if document.startswith("docs/")]
README_LINES = 150
SOURCES = ("scripts", "model", "plugins", "dags", "local", "docker", "k8s")
PATH = re.compile(rf"(?<![\w/.$~-])(?:{'|'.join(SOURCES)}|tests|docs)/[\w./-]*\w")
SHELL_NAMES = {"SNIFFER_PASSWORD"}
"""Variables of the shell in the documents' own examples."""


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_readme_is_short() -> None:
    assert len(_text("README.md").splitlines()) <= README_LINES


def test_the_readme_leads_to_every_page() -> None:
    linked = {target.partition("#")[0] for target in _links("README.md")}
    assert {page for page in PAGES if page not in linked} == set()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_begins_with_a_title_and_whom_it_is_for(page: str) -> None:
    title, reader = [block for block in _text(page).split("\n\n") if not block.startswith("<!--")][:2]
    assert title.startswith("# ")
    assert reader.startswith("For whoever ")


def test_every_relative_link_leads_somewhere(document: str) -> None:
    for target in _links(document):
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


def test_every_path_exists(document: str) -> None:
    for code in _code(document):
        for path in PATH.findall(code):
            assert (ROOT / path).exists(), path


def test_every_make_target_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), re.MULTILINE))
    for code in _code(document):
        assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) <= targets


def test_every_command_line_of_ours_is_understood(document: str) -> None:
    for words in _command_lines(document):
        _check_command_line(words)


def test_a_command_line_that_does_not_exist_is_noticed() -> None:
    line = "SNIFFER_X=1 sniffer scan --bucket 'a b' --bukket c && sniffer migrate  # sniffer scam"
    assert list(_commands(line)) == [["scan", "--bucket", "a b", "--bukket", "c"], ["migrate"]]
    for words in (["scan", "--bukket", "c"], ["scam"], ["model", "trayn", "--workdir", "x"]):
        with pytest.raises(AssertionError):
            _check_command_line(words)


def test_every_variable_is_one_that_we_read(document: str) -> None:
    known = {setting.name for setting in SETTINGS} | SHELL_NAMES | set(_compose_variables())
    named = set(re.findall(r"\bSNIFFER_[A-Z_]*[A-Z]\b", "\n".join(_code(document))))
    assert named - known == set()


def test_every_message_in_the_troubleshooting_page_is_one_that_we_print() -> None:
    printed = " ".join(_strings())
    for line in _text("docs/troubleshooting.md").splitlines():
        for message in re.findall(r'"([^"]+)"', line.split("|")[1] if line.startswith("| ") else ""):
            for part in filter(None, (part.strip() for part in re.split(r"…", message))):
                assert part in printed, message


def _check_command_line(words: list[str]) -> None:
    """Raises when the real parsers would refuse the flags; values may be placeholders, so they are not judged."""
    path = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in cli.COMMANDS), ())
    if not path:
        # A group of commands, the command's own flags, or a placeholder.
        groups = {command[0] for command in cli.COMMANDS if len(command) > 1}
        assert words in ([], ["--version"], ["--help"]) or (words[0] in groups and words[1:] in ([], ["X"])), words
        return
    parser = cli.program(path).parser()
    flags = {flag for action in parser._actions for flag in action.option_strings}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= flags, words


def _command_lines(document: str) -> Iterator[list[str]]:
    """The words after `sniffer`, wherever it begins a command in a block of shell or in code within text."""
    for code in _code(document):
        for line in code.replace("\\\n", " ").splitlines():
            if "sniffer " in line:
                yield from _commands(line.strip().removeprefix("$ "))


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line.replace("…", "X"), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|()<>"):
            if words[:1] == ["sniffer"]:
                yield words[1:]
            words = []
        elif words or not re.match(r"\w+=", word):
            words.append(word)


def _links(document: str) -> list[str]:
    """Targets of links that are not to another site."""
    targets = re.findall(r"\]\(([^)\s]+)\)", _text(document))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _code(document: str) -> list[str]:
    """Fenced blocks (but diagrams), and code within text."""
    text = _text(document)
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [body for language, body in blocks if language != "mermaid"] + re.findall(r"`([^`]+)`", rest)


def _compose_variables() -> list[str]:
    return re.findall(r"\$\{(SNIFFER_[A-Z_]+)", _text("docker-compose.yaml"))


def _strings() -> Iterator[str]:
    """The texts in the code, with a gap where an f-string has a value, and the script that sets up."""
    yield _text("local/setup.sh")
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def _text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")
