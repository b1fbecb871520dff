"""Writes the digest behind each image's tag beside the tag: a cluster runs those bytes, whatever becomes of the tag.

In: k8s/components/images/kustomization.yaml and, with --airflow, k8s/airflow-values.yaml; the registries, by
`docker buildx imagetools inspect`, with docker's own login. Out: the same files. Needs Python alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

K8S = Path(__file__).resolve().parents[1] / "k8s"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# One image of Kustomize's list, or the Airflow image of the chart's values: the fields of both come one a line.
_IMAGE = re.compile(r"^  - name: .*\n(?:    \w+: .*\n)+", re.MULTILINE)
_AIRFLOW = re.compile(r"^  airflow:\n(?:    \w+: .*\n)+", re.MULTILINE)


class NotPinned(Exception):
    """What is wrong, and the way out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program. Exit status: 0 every digest is that of its tag (now), 1 one is not with --check, 2 failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airflow", metavar="REPOSITORY", help="pin Airflow's image too: where it was pushed")
    parser.add_argument("--check", action="store_true", help="write nothing; name what is not pinned to its tag")
    parser.add_argument("--k8s", type=Path, default=K8S, metavar="FOLDER", help="the manifests (default: %(default)s)")
    arguments = parser.parse_args(argv)
    files = {arguments.k8s / "components" / "images" / "kustomization.yaml": (_IMAGE, None)}
    if arguments.airflow:
        files[arguments.k8s / "airflow-values.yaml"] = (_AIRFLOW, arguments.airflow)
    try:
        stale = [
            found for path, (kind, repository) in files.items() for found in _pin(path, kind, repository, arguments)
        ]
    except NotPinned as error:
        print(f"pin_images: {error}", file=sys.stderr)
        return 2
    for line in stale:
        print(line)
    return 1 if stale and arguments.check else 0


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
        path.write_text(text, encoding="utf-8")
    return found


def digest_of(reference: str) -> str:
    """What the registry has under that tag; NotPinned when it cannot be asked."""
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", reference]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError as error:
        raise NotPinned("there is no docker here: install it with its buildx plugin") from error
    except subprocess.TimeoutExpired as error:
        raise NotPinned(f"the registry of {reference} does not answer: run this again") from error
    if done.returncode or not DIGEST.fullmatch(done.stdout.strip()):
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise NotPinned(f"the digest of {reference} cannot be had ({said}): push it, or log in to its registry")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
