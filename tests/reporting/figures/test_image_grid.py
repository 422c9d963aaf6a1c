"""Grids of images: what lies where, and that captions have room."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFont

from evaluator.reporting.figures.image_grid import (
    COLUMNS,
    LEAST_SIDE_PX,
    Cell,
    Grid,
    fitting,
    png_of,
)


def flat(side: int, colour: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    return np.full((side, side, 3), colour, np.uint8)


def grid(rows: int, columns: int, side: int, title: str = "a title") -> Grid:
    return Grid(
        title=(title, "how"),
        header=("start", *(f"unit {u}" for u in range(columns))),
        rows=tuple(
            (
                Cell(flat(side, (255, 0, k)), (f"start {k}",)),
                *(Cell(flat(side, (0, 100 + u, k)), ("one", "two")) for u in range(columns)),
            )
            for k in range(rows)
        ),
    )


def drawn(what: Grid) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(png_of(what))) as image:
        return np.asarray(image.convert("RGB"))


def places(page: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Where blocks of a colour begin: top and left."""
    there = (page == colour).all(2)
    above = np.pad(there, ((1, 0), (1, 0)))
    corners = there & ~above[:-1, 1:] & ~above[1:, :-1]
    return [(int(y), int(x)) for y, x in zip(*np.nonzero(corners), strict=True)]


def test_rows_are_starts_and_columns_are_units() -> None:
    page = drawn(grid(2, 3, 224))
    firsts = [places(page, (255, 0, k)) for k in range(2)]
    assert [len(found) for found in firsts] == [1, 1]
    assert firsts[0][0][1] == firsts[1][0][1] < places(page, (0, 100, 0))[0][1]
    for k in range(2):
        row = [places(page, (0, 100 + u, k)) for u in range(3)]
        assert {y for ((y, _),) in row} == {firsts[k][0][0]}
        lefts = [x for ((_, x),) in row]
        assert lefts == sorted(lefts)
        assert (page == (0, 101, k)).all(2).sum() == 224 * 224  # as it is, pixel for pixel


def test_what_does_not_fit_goes_on_below_with_its_starts() -> None:
    page = drawn(grid(2, COLUMNS + 2, 224))
    assert len(places(page, (255, 0, 1))) == 2
    first, last = places(page, (0, 100, 0))[0], places(page, (0, 100 + COLUMNS, 0))[0]
    assert last[0] > places(page, (0, 100, 1))[0][0] + 224
    assert last[1] == first[1]


def test_tiny_images_are_enlarged_by_whole_factors() -> None:
    page = drawn(grid(1, 1, 50))
    side = 50 * (LEAST_SIDE_PX // 50)
    assert (page == (0, 100, 0)).all(2).sum() == side * side


def test_the_same_grid_has_the_same_bytes() -> None:
    assert png_of(grid(1, 2, 64)) == png_of(grid(1, 2, 64))


def test_a_long_text_keeps_both_its_ends_and_has_room() -> None:
    font = ImageFont.load_default(13)
    text = "ILSVRC2012_val_00000001_of_a_very_long_name.JPEG"
    short = fitting(text, font, 150)
    assert font.getlength(short) <= 150
    assert short.startswith("ILSVRC20")
    assert short.endswith(".JPEG")
    assert fitting("short", font, 150) == "short"


@pytest.mark.parametrize("title", ["", "é ü ß", "a\tb", "x" * 2000])
def test_any_title_can_be_drawn(title: str) -> None:
    assert drawn(grid(1, 1, 64, title)).shape[2] == 3
