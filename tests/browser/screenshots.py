"""Write docs/console/PAGE-WIDTH.png anew, for each page of the console: `make screenshots`.

Those of 4K are shown at half their size. 128 colours are enough for pages like these, for a fifth of the bytes.
"""

import io
import sys
import tempfile
from pathlib import Path

from proxy.web.console.blueprint import PAGES
from tests.browser.chromium import WIDTHS, chromium, window
from tests.browser.stage import stage
from tests.browser.test_pages import sign_in

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/console"
_MOST_PX = 2160  # in height: what lies below says the same again


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        stage(Path(folder) / "r") as on,
        chromium() as browser,
        window(browser, color_scheme="light", locale="en", reduced_motion="reduce") as here,
    ):
        sign_in(here, on)
        for page in PAGES:
            here.page.goto(on.console + on.addresses_of(page)[-1])
            for width in WIDTHS:
                here.widen(width)
                shown = here.page.screenshot(full_page=True, animations="disabled")
                (FOLDER / f"{page}-{width}.png").write_bytes(_small(shown, width))
    return 0


def _small(png: bytes, width: int) -> bytes:
    from PIL import Image  # noqa: PLC0415  of .browser, too

    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, _MOST_PX)))
    if width > 1920:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
