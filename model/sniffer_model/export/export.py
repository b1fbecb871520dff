"""`sniffer model export`: from a blessed training to a published, registered model version.

In: workdir with training, metrics and verdict. Out: MODEL_BASE_PATH/<next integer>/ and a row of `models`.
What is published has been loaded again, scores the golden examples as the trained model does, and its warm-up
records run. A rerun publishes nothing new when the same model is published already.
"""

from __future__ import annotations

import argparse
import logging
import sys

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.model_records import PublishedModel
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings, image_settings
from sniffer_model.export.build import export_model, read_blessed, register
from sniffer_model.release.model_base import open_model_base
from sniffer_model.steps import DATABASE_ENVIRONMENT, add_workdir
from sniffer_model.workdir import Workdir

log = logging.getLogger(__name__)


def _add_arguments(parser: Parser) -> None:
    add_workdir(parser, ", blessed by the gate")
    parser.add_argument(
        "--model-base-path",
        required=True,
        metavar="DIR|s3://BUCKET/PREFIX",
        help="where versions are published, each under its number; a folder can be the server's --model_base_path",
    )
    parser.add_argument(
        "--no-register", action="store_true", help="publish only; scans cannot use a version that is not in `models`"
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    blessed = read_blessed(Workdir(arguments.workdir))
    base = open_model_base(arguments.model_base_path)
    if arguments.no_register:
        facts = export_model(blessed, base, image_settings())
        log.warning("version %d is not registered: scans cannot use it", facts.version)
    else:
        if blessed.version is None:
            raise SettingsError("the gate worked without a database and reserved no version: run it with one")
        with Database(database_settings()) as database:
            database.check()
            facts = export_model(blessed, base, image_settings())
            register(facts, blessed, database)
    return ProgramResult(PublishedModel.at(f"{base.location}/{facts.version}", facts))


PROGRAM = Program(
    command="sniffer model export",
    summary="Make a SavedModel of a blessed training, prove that it scores as the trained model does, publish it as a "
    "new version under the model base path, and register it in the database. Publishes nothing twice. Prints the "
    "published facts as one JSON line.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer model export --workdir runs/1 --model-base-path s3://models/drug_detector",),
    environment=DATABASE_ENVIRONMENT,
    extra="trainer",
    hands_on=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
