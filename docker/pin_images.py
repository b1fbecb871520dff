"""Writes the digest behind each image's tag beside the tag: what runs are those bytes, whatever becomes of the tag.

In: k8s/components/images/kustomization.yaml and, with --airflow, k8s/airflow-values.yaml; or with --compose
docker/tags.env; the registries, by `docker buildx imagetools inspect`, with docker's own login. Out: the same files of
k8s/; or .env, whose other lines stay. Needs Python alone.
"""

from __future__ import annotations

import argparse
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
K8S = CHECKOUT / "k8s"
TAGS = CHECKOUT / "docker" / "tags.env"
ENV = CHECKOUT / ".env"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# One image of Kustomize's list, or the Airflow image of the chart's values: the fields of both come one a line.
_IMAGE = re.compile(r"^  - name: .*\n(?:    \w+: .*\n)+", re.MULTILINE)
_VARIABLE = re.compile(r"^(SNIFFER_\w+_IMAGE)=(.*)$", re.MULTILINE)
_BY_TAG = re.compile(r"^SNIFFER_IMAGES_BY_TAG=.*\n?", re.MULTILINE)
_AIRFLOW = re.compile(r"^  airflow:\n(?:    \w+: .*\n)+", re.MULTILINE)


class NotPinned(Exception):
    """What is wrong, and the way out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program. Exit status: 0 every digest is that of its tag (now), 1 one is not with --check, 2 failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airflow", metavar="REPOSITORY", help="pin Airflow's image too: where it was pushed")
    parser.add_argument("--check", action="store_true", help="write nothing; name what is not pinned to its tag")
    parser.add_argument("--k8s", type=Path, default=K8S, metavar="FOLDER", help="the manifests (default: %(default)s)")
    parser.add_argument("--compose", action="store_true", help="pin the images of docker-compose.yaml instead, in .env")
    parser.add_argument(
        "--tags", type=Path, default=TAGS, metavar="FILE", help="with --compose: their tags (%(default)s)"
    )
    parser.add_argument("--env", type=Path, default=ENV, metavar="FILE", help="with --compose: written (%(default)s)")
    arguments = parser.parse_args(argv)
    try:
        stale = _pin_compose(arguments) if arguments.compose else _pin_cluster(arguments)
    except NotPinned as error:
        print(f"pin_images: {error}", file=sys.stderr)
        return 2
    for line in stale:
        print(line)
    return 1 if stale and arguments.check else 0


def _pin_cluster(arguments: argparse.Namespace) -> list[str]:
    files = {arguments.k8s / "components" / "images" / "kustomization.yaml": (_IMAGE, None)}
    if arguments.airflow:
        files[arguments.k8s / "airflow-values.yaml"] = (_AIRFLOW, arguments.airflow)
    return [found for path, (kind, repository) in files.items() for found in _pin(path, kind, repository, arguments)]


def _pin_compose(arguments: argparse.Namespace) -> list[str]:
    """Write each image of the tags' file to the .env file with its digest; what was not up to date, in words."""
    tagged = dict(_VARIABLE.findall(arguments.tags.read_text(encoding="utf-8")))
    if not tagged:
        raise NotPinned(f"{arguments.tags} names no SNIFFER_…_IMAGE: restore it")
    text = arguments.env.read_text(encoding="utf-8") if arguments.env.exists() else ""
    present, found = dict(_VARIABLE.findall(text)), []  # of a name that is there twice the last, as Compose has it
    for name, reference in tagged.items():
        pinned = f"{reference}@{digest_of(reference)}"
        if present.get(name) != pinned:
            found.append(f"{name} is {pinned}, not {present.get(name, 'set')}")
        present[name] = pinned
    if _BY_TAG.search(text):
        found.append("SNIFFER_IMAGES_BY_TAG is set")
    if found and not arguments.check:
        kept = _VARIABLE.sub(lambda line: f"{line[1]}={present[line[1]]}", _BY_TAG.sub("", text))
        kept += "\n" if kept and not kept.endswith("\n") else ""
        there = {name for name, _ in _VARIABLE.findall(kept)}
        _replace(arguments.env, kept + "".join(f"{name}={present[name]}\n" for name in present if name not in there))
    return found


def _pin(path: Path, kind: re.Pattern[str], repository: str | None, arguments: argparse.Namespace) -> list[str]:
    """Write the digests of one file; what was not up to date, in words."""
    text, found = path.read_text(encoding="utf-8"), []
    blocks = kind.findall(text)
    if not blocks:
        raise NotPinned(f"{path} lists no image: restore it")
    for block in blocks:
        fields = {name: value.strip().strip('"') for name, value in re.findall(r"(\w+): ([^#\n]*)", block)}
        tag = fields.get("newTag", fields.get("tag"))
        if tag is None:
            raise NotPinned(
                f"{path} names no tag of {fields.get('name', 'airflow')}: its digest can have no other source"
            )
        reference = f"{repository or fields.get('newName', fields.get('name'))}:{tag}"
        digest = digest_of(reference)
        if fields.get("digest") != digest:
            found.append(f"{reference} is {digest}, not {fields.get('digest', 'pinned')}")
            without = re.sub(r"^    digest: .*\n", "", block, flags=re.MULTILINE)
            text = text.replace(block, f"{without}    digest: {digest}\n")
    if found and not arguments.check:
        _replace(path, text)
    return found


def _replace(path: Path, text: str) -> None:
    """As a whole: who is interrupted loses no setting that stands beside the images."""
    path = path.resolve()
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600)
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def digest_of(reference: str) -> str:
    """What the registry has under that tag; NotPinned when it cannot be asked."""
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", reference]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError as error:
        raise NotPinned("there is no docker here: install it with its buildx plugin") from error
    except subprocess.TimeoutExpired as error:
        raise NotPinned(f"the registry of {reference} does not answer: run this again") from error
    if done.returncode and not _has_buildx():
        raise NotPinned("docker has no buildx plugin here: install it (Debian's docker-buildx, Docker's own package)")
    if done.returncode or not DIGEST.fullmatch(done.stdout.strip()):
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise NotPinned(f"the digest of {reference} cannot be had ({said}): push it, or log in to its registry")
    return done.stdout.strip()


def _has_buildx() -> bool:
    command = ["docker", "buildx", "version"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
