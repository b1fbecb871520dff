"""The command `sniffer`: every program is found, explains itself, and is quick to say what is wrong."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sniffer import cli
from sniffer.core.parser import HelpFormatter, Parser
from sniffer.core.program import Program
from sniffer.core.settings import SETTINGS

PATHS = sorted(cli.COMMANDS)
HEAVY = ("tensorflow", "keras", "sqlalchemy", "boto3", "numpy", "rich", "argcomplete", "zmq")


def spoken(path: tuple[str, ...]) -> str:
    return " ".join(("sniffer", *path))


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sniffer.cli", *words]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("path", PATHS, ids=spoken)
def test_every_command_is_a_program_of_that_name(path: tuple[str, ...]) -> None:
    assert cli.program(path).command == spoken(path)


@pytest.mark.parametrize("path", PATHS, ids=spoken)
def test_every_help_has_a_paragraph_and_examples_that_work(path: tuple[str, ...]) -> None:
    program = cli.program(path)
    text = program.parser().format_help()
    assert text.startswith(f"usage: {spoken(path)} [flags]\n")
    assert len(program.summary) > 40
    assert program.examples
    for words in _own_examples(program):
        program.parser().parse_args(words)


def _own_examples(program: Program) -> list[list[str]]:
    """The flags of every example that calls the program itself, whatever a shell does around it."""
    text = re.sub(r"\\\s*", " ", "\n".join(program.examples).replace("\\\n", " "))
    calls = re.findall(rf"{program.command}\b([^\n>)#]*)", text)
    return [shlex.split(flags.rstrip('"')) for flags in calls]


@pytest.mark.parametrize("path", PATHS, ids=spoken)
def test_every_flag_has_a_help_and_every_default_is_shown(path: tuple[str, ...]) -> None:
    for action in cli.program(path).parser()._actions:
        assert action.help, action.dest
        if action.type in (int, float) or (isinstance(action.default, int | float) and action.nargs != 0):
            assert action.default is None or "default" in cli_help(cli.program(path).parser(), action.dest)


def cli_help(parser: Parser, dest: str) -> str:
    """What the help says of one flag, on one line."""
    [action] = [action for action in parser._actions if action.dest == dest]
    return HelpFormatter(parser.prog)._expand_help(action)


@pytest.mark.parametrize("path", PATHS, ids=spoken)
def test_every_variable_that_a_help_names_is_known(path: tuple[str, ...]) -> None:
    known = {setting.name for setting in SETTINGS}
    assert set(re.findall(r"SNIFFER_[A-Z_]+[A-Z]", cli.program(path).parser().format_help())) <= known


def test_no_two_flags_of_one_meaning_have_two_names() -> None:
    flags = {flag for parser in cli.parsers().values() for flag in parser._option_string_actions}
    assert not flags & {"--report", "--certificate", "--output"}
    assert [flag for flag in flags if re.search(r"-(seconds|secs?|minutes)$", flag)] == []


def loaded_by(*words: str) -> tuple[str, list[str]]:
    """What the command prints, and which heavy packages it has imported by then."""
    code = (
        "import sys\nfrom sniffer.cli import main\n"
        f"try: main({list(words)})\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    *text, found = done.stdout.splitlines()
    return "\n".join(text), ast.literal_eval(found)


def test_the_list_of_commands_needs_no_package_but_our_own() -> None:
    text, heavy = loaded_by("--help")
    assert heavy == []
    assert all(spoken(path).removeprefix("sniffer ") in text for path in PATHS)


def test_the_help_of_a_scan_needs_no_tensorflow_and_no_database() -> None:
    assert loaded_by("scan", "--help")[1] == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize("step", ["snapshot", "train", "evaluate", "gate", "export"])
def test_the_help_of_a_training_needs_no_tensorflow(step: str) -> None:
    assert not {"tensorflow", "keras"} & set(loaded_by("model", step, "--help")[1])


def test_help_takes_a_moment_of_processor_time_only() -> None:
    before = os.times()
    for _ in range(3):
        assert run("--help").returncode == 0
    after = os.times()
    assert (after.children_user + after.children_system - before.children_user - before.children_system) / 3 < 0.3


def test_the_version_is_the_distributions() -> None:
    done = run("--version")
    assert done.stdout == f"sniffer {importlib.metadata.version('sniffer-bot')}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "sniffer: name a command: scan, plan, estimate, approve"),
        (["scna"], "sniffer: there is no command scna: did you mean scan? (see sniffer --help)"),
        (["--versio"], "sniffer: there is no flag --versio: did you mean --version?"),
        (["model"], "sniffer model: name a command: count-labels, snapshot"),
        (["model", "trian"], "sniffer model: there is no command trian: did you mean train?"),
        (["rollout", "promote"], "sniffer rollout promote: --version is required (see sniffer rollout promote --help)"),
        (["rollout", "promote", "--load-limit-s=3"], "there is no flag --load-limit-s"),
        (["scan", "--buckt=b"], "sniffer scan: there is no flag --buckt: did you mean --bucket?"),
        (["scan", "--bucket=b", "more"], "sniffer scan: more is not understood"),
        (["scan", "--bucket=b", "--limit=none"], "sniffer scan: --limit: 'none' is not a whole number above 0"),
        (["completion", "tcsh"], "sniffer completion: bash|zsh|fish: invalid choice: 'tcsh'"),
    ],
)
def test_wrong_usage_is_one_line_with_the_way_out(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = cli.main(words)
    except SystemExit as ended:
        status = int(str(ended.code))
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert message in line


@pytest.mark.parametrize("path", [("scan",), ("model", "gate"), ("rollout", "sync"), ("local", "samples")], ids=spoken)
def test_a_programs_module_has_the_same_help(path: tuple[str, ...]) -> None:
    module = cli.COMMANDS[path].module.removesuffix(".__main__")
    command = [sys.executable, "-m", module, "--help"]
    by_module = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert by_module.stdout == run(*path, "--help").stdout


def test_a_rollouts_steps_are_listed_by_its_module_too() -> None:
    command = [sys.executable, "-m", "sniffer_rollout", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert all(f"  {path[1]}" in text for path in PATHS if path[0] == "rollout" and path[1] != "sync")


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["consume", "--endpoint=ipc://x"], "zmq", "fleet"),
        (["model", "snapshot", "--help"], "imagehash", "trainer"),
        (["local", "down"], "psutil", "dev"),
    ],
)
def test_a_missing_package_is_one_line_that_says_which_extra_brings_it(
    words: list[str], package: str, extra: str
) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from sniffer.cli import main; sys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        f"needs the package {package}, which is not installed here: pip install 'sniffer-bot[{extra}]'"
    )


def test_a_defect_of_our_own_is_not_hidden_as_a_missing_package() -> None:
    code = "import sys; sys.modules['sniffer.scan.wire'] = None; from sniffer.cli import main; main(['consume'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("sniffer sc", ["scan"]),
        ("sniffer rollout pr", ["preflight", "promote"]),
        ("sniffer scan --re", ["--rescan", "--retry-failed", "--result"]),
        ("sniffer scan --log-format ", ["text", "json"]),
        ("sniffer local b", ["bench"]),
    ],
)
def test_a_shell_completes_commands_and_flags(line: str, found: list[str], tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    environ = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n"}
    environ |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    run(**environ)
    assert [word.strip() for word in answer.read_text().splitlines()] == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_given_names_the_command(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "sniffer" in done.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True, timeout=10)
