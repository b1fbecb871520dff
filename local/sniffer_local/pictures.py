"""`make pictures`: the screenshots in docs/pictures, taken from the running demo in a real browser."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError, SnifferError, TransientError
from sniffer.core.model_records import ModelStatus
from sniffer.core.settings import DatabaseSettings
from sniffer_local.airflow import LOGIN, AirflowClient
from sniffer_local.browser import Page, open_browser
from sniffer_local.layout import CHECKOUT, Layout, add_root_flag
from sniffer_local.registry import Registry
from sniffer_local.stack import API_SERVER, BUCKET, DATABASE, Stack, prepare_stack
from sniffer_local.terminal import as_html, run_in_terminal

PICTURES = CHECKOUT / "docs" / "pictures"
SCAN_DAG = "scan_bucket"
COLOURS = 128
_LEGEND = "[...document.querySelectorAll('.rickshaw_legend .line')]"
"""The lines below Prometheus's graph that say which colour is what."""
_SCALE = 1.5
"""The picture's pixels for each of the page's: sharp enough for a dense screen, small enough for a repository."""


def sign_in(page: Page, stack: Stack) -> None:
    """Through Airflow's own form, as a person would."""
    page.resize(1280, 720, _SCALE)
    page.open(f"{stack.airflow.url}/")
    page.wait_for("document.querySelector('input[name=username]')")
    for name, text in (("username", LOGIN), ("password", stack.airflow.password)):
        page.run(f"document.querySelector('input[name={name}]').focus()")
        page.type(text)
    page.run("document.querySelector('button[type=submit]').click()")
    page.wait_for("!location.pathname.startsWith('/auth/') && document.querySelector('h1, h2')")
    # What the UI keeps of a person's choices: the graph instead of the grid, and light colours.
    page.run(
        "localStorage.setItem('default_dag_view', JSON.stringify('graph')), localStorage.setItem('theme', 'light')"
    )


def graph_of_a_scan(page: Page, stack: Stack) -> bytes:
    """Airflow's graph of the newest scan that succeeded."""
    client = AirflowClient(stack.airflow)
    # A run's id is its kind, two underscores and its time.
    runs = sorted(client.run_ids(SCAN_DAG), key=lambda run: run.partition("__")[2])
    succeeded = [run for run in runs if client.run_state(SCAN_DAG, run) == "success"]
    if not succeeded:
        raise SettingsError(f"no run of {SCAN_DAG} has succeeded yet: run `make demo` first")
    page.resize(1360, 660, _SCALE)
    page.open(f"{stack.airflow.url}/dags/{SCAN_DAG}/runs/{quote(succeeded[-1])}")
    page.wait_for("document.querySelectorAll('.react-flow__node').length > 2")
    page.run("new Promise(done => setTimeout(done, 3000))")  # the layout is animated
    return page.screenshot()


def report(page: Page, stack: Stack) -> bytes:
    """The newest version's report, down to its scores."""
    with Database(DatabaseSettings(stack.database.url(DATABASE))) as database:
        version = max(record.version for record in database.models.of_status(*ModelStatus))
    page.resize(1000, 900, _SCALE)
    page.open(f"{stack.airflow.url}/sniffer/reports/{version}/")
    page.wait_for("document.readyState === 'complete' && document.querySelector('h1')")
    bottom = page.run("document.querySelector('.histogram').getBoundingClientRect().bottom")
    page.resize(1000, int(bottom) + 16, _SCALE)  # what is outside the window is not drawn
    return page.screenshot()


def certificate(page: Page, stack: Stack) -> bytes:
    """A scan of the sample bucket on a terminal, down to its certificate."""
    words = ["scan", "--bucket", BUCKET, "--rescan"]
    program = Path(sys.executable).with_name("sniffer")
    status, screen = run_in_terminal([str(program), *words], {**os.environ, **stack.program_environ()})
    if status != 0:
        text = "\n".join("".join(character for character, _ in line) for line in screen.lines)
        raise TransientError(f"the scan for the picture ended with exit status {status}:\n{text}")
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(as_html(" ".join(["sniffer", *words]), screen))
        file.flush()
        page.resize(1200, 900, _SCALE)
        page.open(Path(file.name).as_uri())
        page.wait_for("document.readyState === 'complete'")
        box = page.run("(({width, height}) => [width, height])(document.querySelector('pre').getBoundingClientRect())")
        return page.screenshot((0, 0, *box))


def metrics_of_scans(page: Page, stack: Stack) -> bytes:
    """What Prometheus has kept of the last scans, down to the legend. Raises SettingsError where the stack has none."""
    if stack.prometheus is None:
        raise SettingsError("the stack has no Prometheus: `sudo apt-get install prometheus`, then `make demo`")
    page.resize(1200, 760, _SCALE)
    query = quote("sum by (outcome) (sniffer_images_total) > 0")
    page.open(
        f"http://127.0.0.1:{stack.prometheus.port}/graph?g0.expr={query}&g0.tab=0&g0.stacked=1&g0.range_input=10m"
    )
    page.wait_for(f"document.querySelector('svg path') && {_LEGEND}.length")
    # What is outside the window is not drawn; in another one it draws anew.
    bottom = page.run(f"Math.max(...{_LEGEND}.map(line => line.getBoundingClientRect().bottom))")
    page.resize(1200, int(bottom) + 16, _SCALE)
    page.wait_for(f"document.querySelector('svg path') && {_LEGEND}.length")
    return page.screenshot()


def review(page: Page, stack: Stack) -> bytes:
    """What comes first on the review page. It is given back by signing out."""
    if stack.review is None:
        raise SettingsError("the stack has no review page yet: run `make demo`")
    page.resize(1280, 900, 1.0)
    page.open(f"{stack.review.url}/login")
    page.wait_for("document.querySelector('input[name=password]')")
    for name, text in (("name", "lead"), ("password", stack.review.passwords["lead"])):
        page.run(f"document.querySelector('input[name={name}]').focus()")
        page.type(text)
    page.run("document.querySelector('form.login').requestSubmit()")
    loaded = "[...document.images].every(image => image.complete)"
    page.wait_for(f"location.pathname === '/review' && document.readyState === 'complete' && {loaded}")
    picture = page.screenshot()
    page.run("document.querySelector('form.who').requestSubmit()")
    page.wait_for("location.pathname === '/login'")
    return picture


def flags_and_review(page: Page, stack: Stack) -> bytes:
    """The summary in Airflow's menu, down to its certificates."""
    page.resize(1200, 900, _SCALE)
    page.open(f"{stack.airflow.url}/sniffer/overview/")
    page.wait_for("document.readyState === 'complete' && document.querySelector('#coverage')")
    # The nights without a scan are cut, so that the picture shows what is below them.
    page.run("document.querySelectorAll('.scroll').forEach(one => { one.style.maxHeight = '12rem' })")
    bottom = page.run("document.querySelector('#coverage').getBoundingClientRect().top")
    page.resize(1200, int(bottom), _SCALE)  # what is outside the window is not drawn
    return page.screenshot()


def small(png: bytes) -> bytes:
    """The picture with a palette, which is a third of the size and looks the same for screenshots."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def make_pictures(layout: Layout, folder: Path) -> None:
    """All of them. Raises SettingsError when the demo's stack does not run, or there is no browser."""
    registry = Registry(layout.state)
    if not registry.is_alive(API_SERVER):
        raise SettingsError("the demo's stack does not run: `make demo` starts it")
    stack = prepare_stack(layout, registry)
    folder.mkdir(parents=True, exist_ok=True)
    with open_browser() as page:
        sign_in(page, stack)
        for make in (graph_of_a_scan, report, flags_and_review, certificate, metrics_of_scans, review):
            file = folder / f"{make.__name__.replace('_', '-')}.png"
            file.write_bytes(small(make(page, stack)))
            print(f"{file} ({file.stat().st_size // 1024} kB)", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program. Exit status: 0 the pictures are there, 1 something did not answer, 2 something is missing."""
    parser = argparse.ArgumentParser(prog="python -m sniffer_local.pictures", description=__doc__)
    add_root_flag(parser)
    flags = parser.parse_args(argv)
    try:
        make_pictures(Layout(flags.root), PICTURES)
    except SnifferError as error:
        print(f"pictures: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
