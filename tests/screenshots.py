"""Pictures of the pages, as the README shows them and for whoever changes them. Needs Chromium.

python -m tests.screenshots              the two of the README, into dashboards/screenshots/
python -m tests.screenshots DIRECTORY    every page, wide and on a phone, light and dark
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser

from tests.browser import chromium
from tests.pages import BOARDS, TARGET, serving

SHOWN: Final = Path(__file__).parents[1] / "dashboards" / "screenshots"
WIDE: Final = 1280
PHONE: Final = 390
HEIGHT: Final = 860  # of the pictures in the README
PATHS: Final = {"target": TARGET, "runbook": "/runbooks/connect_timeout"}

Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")


def photograph(browser: Browser, address: str, file: Path, width: int, scheme: Scheme, height: int | None) -> None:
    """The top of a page, or all of it."""
    context = browser.new_context(viewport={"width": width, "height": height or HEIGHT}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.screenshot(path=file, full_page=height is None)
    context.close()


def every(directory: Path) -> Iterator[tuple[str, str, Path, int, Scheme]]:
    """Board, path, file, width and scheme of each picture."""
    looks = [(board, board, "/") for board in BOARDS] + [(name, "broken", path) for name, path in PATHS.items()]
    for name, board, path in looks:
        for width in (WIDE, PHONE):
            for scheme in SCHEMES:
                yield board, path, directory / f"{name}-{width}-{scheme}.png", width, scheme


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?")
    directory = parser.parse_args().directory
    (directory or SHOWN).mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        if directory is None:
            for board, scheme in zip(("broken", "healthy"), SCHEMES, strict=True):
                with serving(BOARDS[board]()) as address:
                    photograph(browser, address, SHOWN / f"{board}.png", WIDE, scheme, HEIGHT)
        else:
            for board, path, file, width, scheme in every(directory):
                with serving(BOARDS[board]()) as address:
                    photograph(browser, f"{address}{path}", file, width, scheme, None)


if __name__ == "__main__":
    main()
