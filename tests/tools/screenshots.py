"""Pictures of the pages, as the documents show them and for whoever changes them. Needs Chromium.

python -m tests.tools.screenshots              the two of the documents, into docs/
python -m tests.tools.screenshots DIRECTORY    every page, wide and on a phone, light and dark
"""

from __future__ import annotations

import argparse
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser

from tests.browser import chromium
from tests.pages import SITES, TARGET, serving

DOCS: Final = Path(__file__).parents[2] / "docs"
SHOWN: Final = {"broken": DOCS / "status-page.png", "healthy": DOCS / "status-page-healthy.png"}
WIDE: Final = 1280
PHONE: Final = 390
HEIGHT: Final = 774  # of the pictures in the documents
COLOURS: Final = 256  # at most, in a picture with a palette
PATHS: Final = {"target": TARGET, "request": "/firewall-request", "runbook": "/runbooks/connect_timeout"}

Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")


def photograph(browser: Browser, address: str, file: Path, width: int, scheme: Scheme, height: int | None) -> None:
    """The top of a page, or all of it."""
    context = browser.new_context(viewport={"width": width, "height": height or HEIGHT}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.screenshot(path=file, full_page=height is None)
    context.close()


def shrink(file: Path) -> None:
    """Write a screenshot again with a palette, which takes a fifth of the bytes.

    Colours that differ least are merged, by their lowest bits, until the palette holds them all. Raises `ValueError`
    for a file that is not a PNG of 8-bit RGB as Chromium writes it.
    """
    data = file.read_bytes()
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunks[kind] = chunks.get(kind, b"") + data[at + 8 : at + 8 + length]
        at += length + 12
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if (depth, colour) != (8, 2):
        raise ValueError(f"{file}: not 8-bit RGB")
    lines = unfiltered(zlib.decompress(chunks[b"IDAT"]), 3 * width, height)
    pixels = [tuple(line[at : at + 3]) for line in lines for at in range(0, 3 * width, 3)]
    counts = Counter(pixels)
    for bits in range(8):
        nearest: dict[tuple[int, ...], tuple[int, ...]] = {}  # of the colours that fall together, the most frequent
        for pixel, _ in counts.most_common():
            nearest.setdefault(tuple(part >> bits for part in pixel), pixel)
        if len(nearest) <= COLOURS:
            break
    palette = {pixel: number for number, pixel in enumerate(nearest.values())}
    number_of = {pixel: palette[nearest[tuple(part >> bits for part in pixel)]] for pixel in counts}
    numbers = bytes(map(number_of.__getitem__, pixels))
    rows = b"".join(b"\0" + numbers[at : at + width] for at in range(0, len(numbers), width))
    written = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": b"".join(map(bytes, palette)),
        b"IDAT": zlib.compress(rows, 9),
        b"IEND": b"",
    }
    file.write_bytes(
        data[:8]
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in written.items()
        )
    )


def unfiltered(data: bytes, width: int, height: int) -> list[bytearray]:
    """The lines of an RGB picture: https://www.w3.org/TR/png-3/#9Filters."""
    lines = [bytearray(width)]
    for number in range(height):
        kind, *line = data[number * (width + 1) : (number + 1) * (width + 1)]
        above = lines[-1]
        for at in range(width):
            left, upper_left = (line[at - 3], above[at - 3]) if at >= 3 else (0, 0)
            match kind:
                case 1:
                    line[at] += left
                case 2:
                    line[at] += above[at]
                case 3:
                    line[at] += (left + above[at]) // 2
                case 4:
                    guess = left + above[at] - upper_left
                    line[at] += min((left, above[at], upper_left), key=lambda found: abs(guess - found))
            line[at] &= 255
        lines.append(bytearray(line))
    return lines[1:]


def every(directory: Path) -> Iterator[tuple[str, str, Path, int, Scheme]]:
    """Site, path, file, width and scheme of each picture."""
    looks = [(site, site, "/") for site in SITES] + [(name, "broken", path) for name, path in PATHS.items()]
    for name, site, path in looks:
        for width in (WIDE, PHONE):
            for scheme in SCHEMES:
                yield site, path, directory / f"{name}-{width}-{scheme}.png", width, scheme


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?")
    directory = parser.parse_args().directory
    (directory or DOCS).mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        if directory is None:
            for (site, file), scheme in zip(SHOWN.items(), SCHEMES, strict=True):
                with serving(SITES[site]()) as address:
                    photograph(browser, address, file, WIDE, scheme, HEIGHT)
                shrink(file)
        else:
            for site, path, file, width, scheme in every(directory):
                with serving(SITES[site]()) as address:
                    photograph(browser, f"{address}{path}", file, width, scheme, None)


if __name__ == "__main__":
    main()
