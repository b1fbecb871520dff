"""docs/kubernetes.md: each command is one that its tool takes, and what makes users and secrets is run."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url
from support.guide import bash_refuses, blocks, commands, unknown_aws_parameters, unknown_kubectl_flags
from support.imports import CHECKOUT
from support.manifests import KUBECTL
from support.scratch_bucket import ScratchBucket

from sniffer.adapters.mysql.grants import ROLES

GUIDE = CHECKOUT / "docs" / "kubernetes.md"
ROLES_OF_PODS = ("migrate", "scan", "trainer", "rollout", "review")


@pytest.fixture(scope="module")
def guide() -> str:
    """The guide, its continued lines joined."""
    return GUIDE.read_text().replace("\\\n", " ")


def test_every_block_is_one_that_bash_reads() -> None:
    assert len(blocks(GUIDE)) > 10
    assert [said for block in blocks(GUIDE) if (said := bash_refuses(block))] == []


def test_every_flag_is_one_that_kubectl_takes() -> None:
    found = list(commands(GUIDE, "kubectl"))
    assert len(found) > 15
    assert [(words, flags) for words in found if (flags := unknown_kubectl_flags(words))] == []


def test_every_call_of_aws_is_one_that_its_service_takes() -> None:
    found = list(commands(GUIDE, "aws"))
    assert len(found) > 20
    assert [said for words in found for said in unknown_aws_parameters(words)] == []


def test_what_a_tool_does_not_take_is_found() -> None:
    assert unknown_kubectl_flags(["kubectl", "-n", "x", "get", "pods", "--no-such"]) == ["--no-such"]
    assert unknown_kubectl_flags(["kubectl", "exec", "-iz", "pod"]) == ["-z"]
    assert unknown_aws_parameters(["aws", "rds", "delete-db-instance", "--name", "x"]) == [
        "rds delete-db-instance --name",
        "rds delete-db-instance lacks --db-instance-identifier",
    ]
    assert bash_refuses("for x in a; do\n") != ""


def test_what_goes_on_runs_in_the_background_and_is_waited_for() -> None:
    """A port-forward would hold the block; a request right after it would come too early."""
    for block in blocks(GUIDE):
        for line in block.splitlines():
            if "port-forward" in line:
                assert re.search(r"> /dev/null & FORWARD=\$!", line), line
            if line.startswith("curl"):
                assert "--retry-connrefused" in line, line


def test_no_command_eats_the_lines_that_are_pasted_after_it() -> None:
    """`-i` reads standard input: the rest of the block, when somebody pastes it."""
    for block in blocks(GUIDE):
        *before, last = [words for line in block.splitlines() if (words := line.split())]
        assert not any("exec" in words and {"-i", "-it"} & set(words) for words in before[:-1]), last


def test_no_password_is_echoed_or_on_a_command_line(guide: str) -> None:
    assert "--from-literal" not in guide
    for block in blocks(GUIDE):
        assert not re.search(r"\becho\b", block), block
        assert not re.search(r"(kubectl|aws|helm|docker|curl) [^\n|]*(PASSWORD|\$\(< )", block.split("<<")[0]), block


SHIM = f"""#!{sys.executable}
import json, subprocess, sys
tool, words = sys.argv[0].rpartition("/")[2], sys.argv[1:]
log = open({{log!r}}, "a")
if tool == "aws":
    print("ADMIN-PASSWORD" if "SecretString" not in words else json.dumps(dict(password="admin-secret")))
    stdin = ""
elif words[:1] == ["run"]:
    stdin = sys.stdin.read()
elif "create" in words and "secret" in words:
    stdin = sys.stdin.read()
    command = [{str(KUBECTL)!r}, *words, "--dry-run=client", "-o", "json"]
    done = subprocess.run(command, input=stdin, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    stdin = done.stdout
else:
    stdin = ""
log.write(json.dumps([tool, words, stdin]) + "\\n")
"""

Call = tuple[str, list[str], str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Call], Path]:
    """What the blocks of users and secrets start, with its arguments and what it reads; secrets by the real kubectl."""
    home = tmp_path_factory.mktemp("guide")
    log, tools = home / "log", home / "bin"
    tools.mkdir()
    for tool in ("kubectl", "aws"):
        (tools / tool).write_text(SHIM.format(log=str(log)))
        (tools / tool).chmod(0o755)
    wanted = [block for block in blocks(GUIDE) if "SECRETS" in block or "roles()" in block]
    script = "set -euo pipefail; DB=db.example\n" + "\n".join(wanted)
    environ = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(home)}
    done = subprocess.run(
        ["bash"], input=script, env=environ, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in log.read_text().splitlines()], home


def passwords(home: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in (home / ".sniffer-secrets").iterdir()}


def made(calls: list[Call]) -> dict[tuple[str, str], dict[str, str]]:
    """Secrets by namespace and name, decoded."""
    found = {}
    for _, words, text in calls:
        if "secret" in words:
            secret = json.loads(text)
            where = (words[words.index("-n") + 1], secret["metadata"]["name"])
            found[where] = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    return found


def test_the_guide_makes_the_secrets_that_are_asked_for(run: tuple[list[Call], Path], k8s: Path, guide: str) -> None:
    secrets = made(run[0])
    values = yaml.safe_load((k8s / "airflow-values.yaml").read_text())
    assert {where: set(secret) for where, secret in secrets.items()} == {
        **{("sniffer", f"sniffer-database-{role}"): {"SNIFFER_DATABASE_URL"} for role in ROLES_OF_PODS},
        ("sniffer", "sniffer-review"): {"SNIFFER_REVIEW_WEBHOOK_SECRET", "SNIFFER_REVIEW_SECOND_SECRET"},
        ("airflow", values["data"]["metadataSecretName"]): {"connection"},
        ("airflow", values["fernetKeySecretName"]): {"fernet-key", "api-secret-key", "jwt-secret"},
        ("airflow", "airflow-connections"): {"AIRFLOW_CONN_MYSQL_DEFAULT"},
        ("airflow", "airflow-decide"): {"AIRFLOW_CONN_SNIFFER_MYSQL_DECIDE"},
    }
    assert yaml.safe_load(values["extraEnvFrom"]) == [{"secretRef": {"name": "airflow-connections"}}]
    # What deletes scores is for the one component that runs tasks.
    assert values["executor"] == "LocalExecutor"
    decide = {"name": "airflow-decide", "key": "AIRFLOW_CONN_SNIFFER_MYSQL_DECIDE"}
    assert values["scheduler"]["env"] == [{"name": decide["key"], "valueFrom": {"secretKeyRef": decide}}]
    assert [name for name, part in values.items() if "airflow-decide" in str(part)] == ["scheduler"]
    assert {values[key] for key in ("apiSecretKeySecretName", "jwtSecretName")} == {values["fernetKeySecretName"]}
    (files,) = re.findall(r"kubectl -n sniffer create secret generic sniffer-curve (--from-file.*)", guide)
    curve = {"producer.pub", "producer.key", "consumer.pub", "consumer.key", "consumers.pub"}
    assert set(re.findall(r"--from-file=([\w.]+)", files)) == curve


def test_each_program_gets_a_user_and_a_password_of_its_own(run: tuple[list[Call], Path]) -> None:
    secrets, kept = made(run[0]), passwords(run[1])
    urls = {role: secrets["sniffer", f"sniffer-database-{role}"]["SNIFFER_DATABASE_URL"] for role in ROLES_OF_PODS}
    urls["reader"] = secrets["airflow", "airflow-connections"]["AIRFLOW_CONN_MYSQL_DEFAULT"]
    urls["decide"] = secrets["airflow", "airflow-decide"]["AIRFLOW_CONN_SNIFFER_MYSQL_DECIDE"]
    for role, text in urls.items():
        url = make_url(text)
        assert (url.username, url.password, url.host) == (f"sniffer_{role}_user", kept[role], "db.example")
    assert len(set(kept.values())) == len(kept) == 12
    # No pod deletes: whoever prunes or erases takes the password from the list.
    assert {f"sniffer_{role}" for role in [*urls, "retention"]} == {role.name for role in ROLES}


def test_the_users_are_made_with_their_roles(run: tuple[list[Call], Path]) -> None:
    calls, home = run
    kept = passwords(home)
    first, second = [text for _, words, text in calls if words[:1] == ["run"]]
    head = f'[client]\nhost=db.example\nuser=admin\npassword="{kept["admin"]}"\nEND\n'
    assert first.startswith(head) and second.startswith(head + "-- The roles")
    for role in (each.name.removeprefix("sniffer_") for each in ROLES):
        assert f"CREATE USER sniffer_{role}_user IDENTIFIED BY '{kept[role]}';" in first
        if role != "migrate":
            assert f"GRANT sniffer_{role} TO sniffer_{role}_user; SET DEFAULT ROLE sniffer_{role} TO" in second


def test_no_password_is_an_argument_or_readable_by_others(run: tuple[list[Call], Path]) -> None:
    calls, home = run
    assert (home / ".sniffer-secrets").stat().st_mode & 0o077 == 0
    for name, password in passwords(home).items():
        assert (home / ".sniffer-secrets" / name).stat().st_mode & 0o077 == 0
        assert not any(password in word for _, words, _ in calls for word in words)


def test_the_guide_fills_in_every_name_of_the_clusters_configuration(guide: str, k8s: Path) -> None:
    (listed,) = re.findall(r"envsubst '([^']+)'", guide)
    assert set(re.findall(r"\$\{(\w+)\}", (k8s / "eksctl.yaml").read_text())) == set(re.findall(r"\$(\w+)", listed))


def test_the_guide_names_what_is_there(guide: str, k8s: Path) -> None:
    for folder in re.findall(r"-[kf] (k8s/[\w/.-]+)", guide):
        assert (k8s.parent / folder).exists(), folder
    for path in re.findall(r"(?:file://|python3 |< |cat )((?:k8s|docker|docs)/[\w/.-]+)", guide):
        assert (k8s.parent / path).exists(), path
    names = (CHECKOUT / "plugins" / "sniffer_airflow" / "names.py").read_text()
    for variable in re.findall(r"airflow variables set (\w+)", guide):
        assert f'"{variable}"' in names


def test_s3_takes_the_rules_of_the_models_bucket_and_they_spare_what_is_published(
    k8s: Path, bucket: ScratchBucket
) -> None:
    rules = json.loads((k8s / "models-lifecycle.json").read_text())
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration=rules)
    kept = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]
    assert [rule["ID"] for rule in kept] == [rule["ID"] for rule in rules["Rules"]]
    for rule in kept:
        # No program deletes, so no rule may: what is current goes only when a person has removed it.
        assert not {"Days", "Date"} & rule.get("Expiration", {}).keys()
        assert "Transitions" not in rule
