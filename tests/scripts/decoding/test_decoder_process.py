"""Real decoder processes: what hostile files cost, what they can reach, and that the next image is decoded."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from PIL import Image
from support.fleet import jpeg
from support.programs import eventually

from sniffer.adapters.images.render import decode
from sniffer.core.errors import TransientError, UnreadableImage
from sniffer.core.settings import MIB, ImageSettings
from sniffer.decoding.caged import CagedDecoder
from sniffer.decoding.process import open_decoder

FRAGILE = (sys.executable, str(Path(__file__).parents[2] / "support" / "fragile_decoder.py"))
GOOD = jpeg(1)
LIMITS = ImageSettings(decode_cpu_s=0.5, decode_memory_bytes=256 * MIB)


@pytest.fixture
def fragile() -> Iterator[CagedDecoder]:
    """A decoder that takes orders from its images."""
    with open_decoder(LIMITS, FRAGILE) as decoder:
        yield decoder


def pixels(body: bytes) -> bytes:
    """What decoding in this process gives."""
    return decode(body).tobytes()


def verdict(decoder: CagedDecoder, body: bytes) -> UnreadableImage:
    """Why these bytes have no picture; then the next image has one."""
    with pytest.raises(UnreadableImage) as raised:
        decoder.render(body)
    assert decoder.render(GOOD).pixels == (pixels(GOOD),)
    return raised.value


def processes() -> list[psutil.Process]:
    """The living decoder processes of this one."""
    found: list[psutil.Process] = psutil.Process().children()
    return [child for child in found if any("decod" in word for word in child.cmdline())]


def large_png() -> bytes:
    """64 megapixels in 190 kB: half a second and 190 MiB."""
    file = io.BytesIO()
    Image.new("RGB", (8000, 8000), "teal").save(file, "PNG")
    return file.getvalue()


def test_an_image_over_its_cpu_seconds_ends_alone(fragile: CagedDecoder) -> None:
    before = sum(psutil.Process().cpu_times()[2:])
    error = verdict(fragile, b"SPIN")
    assert (error.code, str(error)) == ("over_cost_limit", "decoding takes more than 0.5 CPU seconds")
    # One attempt, and the start of one more process.
    assert sum(psutil.Process().cpu_times()[2:]) - before < 0.5 + 1.0


def test_an_image_over_its_memory_ends_alone(fragile: CagedDecoder) -> None:
    assert verdict(fragile, b"HOG").code == "over_cost_limit"


@pytest.mark.slow
def test_an_image_is_not_blamed_for_what_others_left_in_memory() -> None:
    with open_decoder(LIMITS) as decoder:
        for _ in range(3):
            assert decoder.render(large_png()).pixels == (pixels(large_png()),)


@pytest.mark.parametrize("limits", [replace(LIMITS, decode_cpu_s=0.1), replace(LIMITS, decode_memory_bytes=100 * MIB)])
def test_the_limits_hold_inside_the_codecs(limits: ImageSettings) -> None:
    with open_decoder(limits) as decoder:
        assert verdict(decoder, large_png()).code == "over_cost_limit"


def test_a_file_that_crashes_every_decoder_is_unreadable(fragile: CagedDecoder) -> None:
    error = verdict(fragile, b"ABORT")
    assert error.code == "decoder_crashed"
    assert str(error) == "it ended the decoder 3 times: signal 6 (SIGABRT)"


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (b"BABBLE", "its answer makes no sense: a header of 4294967295 bytes"),
        (b"LEAVE", "exit status 0"),
        (b"IMPORT", "ImportError: sqlite3 was not imported before the decoder was locked up"),
    ],
)
def test_whatever_else_a_decoder_does_instead_of_answering_is_a_crash(
    order: bytes, why: str, fragile: CagedDecoder
) -> None:
    error = verdict(fragile, order)
    assert error.code == "decoder_crashed"
    assert str(error) == f"it ended the decoder 3 times: {why}"


def test_a_decoder_that_says_nothing_is_given_up() -> None:
    with open_decoder(replace(LIMITS, decode_cpu_s=0.1), FRAGILE) as decoder:
        error = verdict(decoder, b"SLEEP")
    assert str(error) == "it ended the decoder 3 times: it did not answer in time"


def test_a_decoder_that_somebody_kills_costs_its_image_nothing() -> None:
    with open_decoder(LIMITS) as decoder:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
            decoder.render(GOOD)
            (process,) = processes()
            process.send_signal(number)
            assert decoder.render(GOOD).pixels == (pixels(GOOD),)


def test_a_decoder_can_reach_nothing(fragile: CagedDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SNIFFER_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "SNIFFER_CURVE_SECRET_FILE"):
        monkeypatch.setenv(name, "a secret")
    # The first decoder started before; a new one sees what this process's environment has now.
    verdict(fragile, b"ABORT")
    words = str(verdict(fragile, b"ENVIRONMENT")).split()
    assert not any(word.startswith(("SNIFFER", "AWS")) for word in words), words
    for order in (b"CONNECT", b"STEAL"):
        assert "Too many open files" in str(verdict(fragile, order))


def test_a_decoder_has_a_socket_and_two_nothings() -> None:
    with open_decoder(LIMITS) as decoder:
        decoder.render(GOOD)
        (process,) = processes()
        folder = Path(f"/proc/{process.pid}")
        descriptors = sorted(str(path.readlink()).partition(":")[0] for path in (folder / "fd").iterdir())
        assert descriptors == ["/dev/null", "/dev/null", "socket"]
        status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
        assert status["NoNewPrivs"] == "1"
        assert (folder / "oom_score_adj").read_text() == "1000\n"
        limits = {line[:25].strip(): line[25:].split()[:2] for line in (folder / "limits").read_text().splitlines()}
        for name in ("Max open files", "Max file size", "Max core file size"):
            assert limits[name] == ["0", "0"], name


def test_a_decoder_ends_with_its_consumer_and_with_a_busy_one_too(tmp_path: Path) -> None:
    code = (
        "import sys; from sniffer.core.settings import ImageSettings; "
        "from sniffer.decoding.process import open_decoder; "
        f"decoder = open_decoder(ImageSettings(decode_cpu_s=600), {FRAGILE!r}); decoder.render({GOOD!r}); "
        "print('ready', flush=True); decoder.render(b'SPIN')"
    )
    consumer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert consumer.stdout is not None and consumer.stdout.readline() == b"ready\n"
    (decoder,) = psutil.Process(consumer.pid).children()
    time.sleep(0.2)
    consumer.kill()
    consumer.wait()
    eventually(lambda: not decoder.is_running() or decoder.status() == psutil.STATUS_ZOMBIE, "the decoder ends", 5)
    consumer.stdout.close()


def test_a_decoder_that_does_not_start_is_said_so_and_blames_no_image() -> None:
    with (
        open_decoder(LIMITS, (sys.executable, "-c", "raise SystemExit(3)")) as decoder,
        pytest.raises(TransientError, match="does not start: exit status 3"),
    ):
        decoder.render(GOOD)
