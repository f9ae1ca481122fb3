"""Write docs/console/PAGE-WIDTH.png anew, for each page of the console: `make screenshots` (PAGES="phones keys").

Those of 4K are shown at half their size. The commonest colours are kept as they are, all others become the nearest of
them: that is enough for pages like these, for a third of the bytes.
"""

import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from proxy.web.console.blueprint import EMULATED, PAGES
from tests.browser.chromium import WIDTHS, Window, chromium, window
from tests.browser.stage import stage
from tests.browser.test_pages import sign_in
from tests.system.test_run import running

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/console"
EVERY = (*PAGES, EMULATED)
_COLOURS = 128
_MOST_PX = 2160  # in height: what lies below says the same again


def main(wanted: Sequence[str]) -> int:
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        chromium() as browser,
        window(browser, color_scheme="light", locale="en", reduced_motion="reduce") as here,
    ):
        if EMULATED in wanted:
            with running(Path(folder) / "state") as run:
                run.until_up()
                here.page.goto(run.address(EMULATED))
                _take(here, EMULATED)
        if pages := [page for page in PAGES if page in wanted]:
            with stage(Path(folder) / "r") as on:
                sign_in(here, on)
                for page in pages:
                    here.page.goto(on.console + on.addresses_of(page)[-1])
                    _take(here, page)
    return 0


def _take(here: Window, page: str) -> None:
    for width in WIDTHS:
        here.widen(width)
        shown = here.page.screenshot(full_page=True, animations="disabled")
        (FOLDER / f"{page}-{width}.png").write_bytes(_small(shown, width))


def _small(png: bytes, width: int) -> bytes:
    from PIL import Image  # noqa: PLC0415  of .browser, too

    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, _MOST_PX)))
    if width > 1920:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    colours = sorted(image.getcolors(image.width * image.height), reverse=True)[:_COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in colours for part in colour])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or EVERY))
