"""Publishing: whatever happens, a server sees complete versions or none."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pytest
from support.facts import FACTS

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.json_records import json_values
from sniffer.core.model_records import ModelFacts
from sniffer_model.release.publish import (
    FACTS_FILE,
    digest_directory,
    find_published,
    parse_facts,
    publish,
    published_versions,
    read_facts,
    staging,
)


def publish_text(base: Path, text: str, versions: Iterable[int] | None = None) -> ModelFacts:
    with staging(base) as staged:
        (staged / "saved_model.pb").write_text(text)
        facts = dataclasses.replace(FACTS, digest=digest_directory(staged))
        return publish(staged, base, facts, versions or count(max(published_versions(base), default=0) + 1))


PUBLISH_EIGHT = """
import sys
from itertools import count
from pathlib import Path
from sniffer.core.model_records import ModelFacts
from sniffer_model.release.publish import publish, staging
base, publisher = Path(sys.argv[1]), sys.argv[2]
facts = ModelFacts(0, "d", "b", "random", "h", "1", 0.5, "m", (), (), "1")
sys.stdin.readline()
for number in range(8):
    with staging(base) as staged:
        text = f"{publisher}.{number}"
        (staged / "saved_model.pb").write_text(text)
        print(publish(staged, base, facts, count(1)).version, text)
"""


def start_publisher(base: Path, publisher: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISH_EIGHT, str(base), str(publisher)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_versions_count_up_and_leave_nothing_else_behind(tmp_path: Path) -> None:
    assert [publish_text(tmp_path, "a").version, publish_text(tmp_path, "b").version] == [1, 2]
    assert sorted(child.name for child in tmp_path.iterdir()) == ["1", "2"]
    assert read_facts(tmp_path / "2").version == 2


def test_the_next_version_follows_the_largest_as_a_server_reads_names(tmp_path: Path) -> None:
    for name in ("7", "0009", "12.part", "notes", "\u0663\u0669", "\u00b2", "9" * 30, "-8", "1e3"):
        (tmp_path / name).mkdir()
    assert publish_text(tmp_path, "a").version == 10


def test_concurrent_publishers_get_versions_of_their_own(tmp_path: Path) -> None:
    children = [start_publisher(tmp_path, publisher) for publisher in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    published = dict(line.split() for child in children for line in child.communicate(timeout=60)[0].splitlines())
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert sorted(map(int, published)) == list(range(1, 33))
    for version, text in published.items():
        assert (tmp_path / version / "saved_model.pb").read_text() == text
        assert read_facts(tmp_path / version).version == int(version)


def test_a_version_is_one_of_those_it_may_be_or_none(tmp_path: Path) -> None:
    assert publish_text(tmp_path, "a", [4]).version == 4
    with pytest.raises(ContractError, match="holds another model"):
        publish_text(tmp_path, "b", [4])
    assert published_versions(tmp_path) == [4]


def test_a_folder_that_goes_while_it_is_looked_at_is_nobodys_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What glob gives a publisher of another one that is just done.
    monkeypatch.setattr(Path, "glob", lambda folder, _pattern: iter([folder / ".staging-gone"]))
    assert publish_text(tmp_path, "a", [1]).version == 1


def test_a_failure_while_staging_leaves_the_folder_empty(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staging(tmp_path) as staged:
        (staged / "saved_model.pb").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_killed_publisher_leaves_nothing_that_a_server_would_load(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from sniffer_model.release.publish import staging\n"
        "with staging(Path(sys.argv[1])) as staged:\n"
        "    (staged / 'saved_model.pb').write_text('half'); print('staged', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "staged\n"
        child.send_signal(signal.SIGKILL)
    assert published_versions(tmp_path) == []
    assert all(not child.name.isdecimal() for child in tmp_path.iterdir())
    assert publish_text(tmp_path, "next").version == 1


def test_what_a_killed_publisher_left_is_removed_after_a_day(tmp_path: Path) -> None:
    abandoned, recent = tmp_path / ".staging-old", tmp_path / ".staging-new"
    abandoned.mkdir()
    recent.mkdir()
    day_ago_s = time.time() - 25 * 3600
    os.utime(abandoned, (day_ago_s, day_ago_s))
    publish_text(tmp_path, "a")
    assert not abandoned.exists()
    assert recent.exists()


def test_the_digest_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, ["a", "b/c"]), (two, ["b/c", "a"])):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    os.utime(two / "a", (1, 1))
    (two / FACTS_FILE).write_text("{}")
    assert digest_directory(one) == digest_directory(two)
    (two / "a").rename(two / "d")
    assert digest_directory(one) != digest_directory(two)
    (two / "d").rename(two / "a")
    (two / "a").write_text("b")
    assert digest_directory(one) != digest_directory(two)


def test_a_published_model_is_found_again_whatever_its_version(tmp_path: Path) -> None:
    published = publish_text(tmp_path, "a")
    (tmp_path / "2").mkdir()
    assert find_published(tmp_path, FACTS) == published
    assert find_published(tmp_path, dataclasses.replace(FACTS, head_digest="another")) is None


def test_a_damaged_version_is_not_taken_for_the_model(tmp_path: Path) -> None:
    publish_text(tmp_path, "a")
    (tmp_path / "1/saved_model.pb").write_text("b")
    assert find_published(tmp_path, FACTS) is None


def test_what_is_published_is_readable_by_the_user_of_a_model_server(tmp_path: Path) -> None:
    publish_text(tmp_path, "a")
    assert (tmp_path / "1").stat().st_mode & 0o005 == 0o005
    assert (tmp_path / "1" / FACTS_FILE).stat().st_mode & 0o004


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({"version": 1}, "missing required field `digest`"), (json_values(FACTS) | {"later": 1}, r"`\$\.later`")],
)
def test_facts_of_another_form_are_refused(tmp_path: Path, facts: dict[str, object], reason: str) -> None:
    text = json.dumps(facts)
    (tmp_path / FACTS_FILE).write_text(text)
    with pytest.raises(ContractError, match=f"{reason}.*: run `sniffer model export` again"):
        read_facts(tmp_path)
    with pytest.raises(ContractError, match=f"s3://b/k is of another form .*{reason}.*: export again"):
        parse_facts(text.encode(), "s3://b/k")


def test_a_base_path_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot write to the model folder"):
        publish_text(tmp_path / "file", "a")
