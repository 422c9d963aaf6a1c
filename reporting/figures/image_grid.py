"""A grid of images with captions, as a PNG: one row for each start, one column for each unit.

Pillow draws it with the font that it contains, so that no other package is needed and the same
images give the same bytes. Images are drawn pixel for pixel, unless they are tiny.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from .drawing import INK, MUTED

COLUMNS = 6
"""Columns after the first; further ones follow below, with the first column repeated."""
LEAST_SIDE_PX = 208
"""Least side of a cell, to fit its captions. An image of less than half of it is enlarged by an
integer factor."""

_MARGIN, _GAP, _LINE, _TITLE_SIZE, _SIZE = 16, 10, 17, 18, 13

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Cell:
    """A cell of the grid.

    Attributes:
        pixels: Image: (S, S, 3) uint8.
        lines: Lines below the image.
    """

    pixels: npt.NDArray[np.uint8]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """Content of the grid.

    Attributes:
        title: Lines at the top, the first one larger.
        header: Headers of the columns; every block of columns begins with the first column.
        rows: Cells of each row, one for each header.
    """

    title: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def png_of(grid: Grid) -> bytes:
    """The grid as the bytes of a PNG."""
    side = max(LEAST_SIDE_PX, grid.rows[0][0].pixels.shape[0])
    lines = max(len(cell.lines) for row in grid.rows for cell in row)
    row_px = side + lines * _LINE + _GAP
    others = range(1, len(grid.header))
    blocks = [(0, *others[start : start + COLUMNS]) for start in range(0, len(others), COLUMNS)]
    columns = len(blocks[0])
    top = 2 * _MARGIN + (len(grid.title) + 1) * _LINE
    block_px = _LINE + _GAP + len(grid.rows) * row_px
    page = Image.new(
        "RGB",
        (2 * _MARGIN + columns * side + (columns - 1) * _GAP, top + len(blocks) * block_px),
        "white",
    )
    draw = ImageDraw.Draw(page)
    _write_title(draw, grid.title, page.width - 2 * _MARGIN)
    for block, indices in enumerate(blocks):
        y = top + block * block_px
        for column, index in enumerate(indices):
            x = _MARGIN + column * (side + _GAP)
            _write(draw, (x, y), grid.header[index], INK, side)
            for row, cells in enumerate(grid.rows):
                _put(page, draw, (x, y + _LINE + row * row_px), cells[index], side)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _put(
    page: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], cell: Cell, side: int
) -> None:
    image = Image.fromarray(cell.pixels)
    factor = max(1, side // image.width)
    page.paste(
        image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST), place
    )
    x, y = place
    for number, line in enumerate(cell.lines):
        _write(draw, (x, y + image.height * factor + 2 + number * _LINE), line, MUTED, side)


def _write_title(draw: ImageDraw.ImageDraw, lines: Sequence[str], most_px: int) -> None:
    for number, line in enumerate(lines):
        size, colour = (_TITLE_SIZE, INK) if number == 0 else (_SIZE, MUTED)
        y = _MARGIN + number * _LINE + (4 if number else 0)
        _write(draw, (_MARGIN, y), line, colour, most_px, size)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    colour: str,
    most_px: int,
    size: int = _SIZE,
) -> None:
    font = ImageFont.load_default(size)
    draw.text(place, fitting(text, font, most_px), fill=colour, font=font)


def fitting(text: str, font: Font, most_px: int) -> str:
    """A text, cut in the middle to fit a width: names often differ at their end."""
    for left_out in range(len(text)):
        keep = len(text) - left_out
        short = text if not left_out else f"{text[: keep // 2]}...{text[len(text) - keep // 2 :]}"
        if font.getlength(short) <= most_px:
            return short
    return ""
