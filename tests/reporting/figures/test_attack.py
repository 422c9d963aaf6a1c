"""The figure of attacks: which numbers its lines are, and what is said of them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from evaluator.reporting.figures.attack import attack_figure
from evaluator.reporting.figures.drawing import COLOURS, MARKERS, MUTED, files_of, style
from evaluator.reporting.model_results import ModelResults, ReportContents
from evaluator.reporting.tables.report import published_beside
from evaluator.tests.attack_scores import transfer, whitebox
from evaluator.tests.score_rows import entry, score

PAPERS = "resnext101_32x16d_wsl"


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with style():
        yield


def made(*entries: ModelResults, all_published: bool = False) -> Figure:
    figure = attack_figure(ReportContents(entries, published_beside(entries, all_published)))
    assert figure is not None
    return figure


def lines(axes: Axes, gid: str) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def points(axes: Axes, gid: str) -> list[tuple[float, float]]:
    (line,) = lines(axes, gid)
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def near(*expected: tuple[float, float]) -> Any:
    return [pytest.approx(point) for point in expected]


def words(figure: Figure) -> str:
    """Of a page, lines that were broken made whole."""
    return " ".join(text.get_text() for text in figure.texts)


def test_the_panels_are_transfer_epsilon_and_steps_and_their_lines_the_scores() -> None:
    a, b, c = made(entry(*transfer(), *whitebox())).axes
    assert points(a, "m") == near((0, 75), (0.01, 68), (0.06, 63))
    assert points(b, "m") == near((0, 80), (0.01, 48), (0.06, 43))
    assert points(c, "m") == near((10, 43), (50, 39))
    assert points(a, "source") == near((0, 77), (0.01, 5), (0.06, 5))
    assert points(b, "unchanged") == near((0, 80), (0.01, 23), (0.06, 18))
    assert points(c, "unchanged") == near((10, 18), (50, 14))
    assert lines(b, "source") == lines(a, "unchanged") == []
    assert lines(a, "source")[0].get_color() == MUTED
    assert lines(a, "source")[0].get_linestyle() != "-"


def test_axes_say_what_is_counted_within_0_and_100_percent() -> None:
    axes = made(entry(*transfer(), *whitebox())).axes
    assert [one.get_ylabel() for one in axes] == [
        "right on the transferred image, %",
        "right, target not reached, %",
        "right, target not reached, %",
    ]
    assert [one.get_xlabel().split(",")[0] for one in axes] == ["epsilon", "epsilon", "steps"]
    assert {one.get_ylim() for one in axes} == {(0, 100)}
    assert [one.get_title(loc="left") for one in axes] == [
        "transferred from resnext50_32x4d\n10 steps", "white-box\n10 steps",
        "white-box\nepsilon 0.06",
    ]  # fmt: skip
    assert [text.get_text() for one in axes for text in one.texts] == ["a", "b", "c"]


def test_a_standard_attack_says_so_and_has_no_curve_of_the_paper_beside_it() -> None:
    mine = ModelResults("mine", PAPERS, tuple(whitebox("standard", steps=(50,))))
    figure = made(mine, all_published=True)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "right, label never left, %"
    assert [line.get_gid() for line in axes.get_lines()] == ["mine"]
    assert "not drawn beside attacks that are made or counted otherwise" in words(figure)
    assert "target not reached" not in words(figure)


@pytest.mark.parametrize(
    ("made_by", "told"),
    [
        ({"step_size": 2 / 225}, "steps of 2/225, not of 2/255"),
        ({"relative_epsilon": True}, "epsilon is a share of each image's largest value"),
        ({"restarts": 5}, "5 starts, not 1"),
    ],
)
def test_an_attack_made_otherwise_has_no_curve_of_the_paper_beside_it(
    made_by: dict[str, Any], told: str
) -> None:
    figure = made(ModelResults("mine", PAPERS, tuple(whitebox(**made_by))), all_published=True)
    assert not any("published" in str(line.get_gid()) for line in figure.axes[0].get_lines())
    assert "not drawn beside attacks that are made or counted otherwise" in words(figure)
    assert f"white-box: mine: unlike the paper's attack: {told}" in words(figure)


def test_attacks_that_count_different_things_are_told_apart_in_the_legend() -> None:
    one, other = entry(*whitebox()), entry(*whitebox("standard", steps=(50,)), name="other")
    figure = made(one, other)
    assert figure.axes[0].get_ylabel() == "still right, as counted by each, %"
    assert "m (a: right, target not reached, 10 steps)" in words(figure)
    assert "other (a: right, label never left, 50 steps)" in words(figure)


def test_the_papers_curve_of_the_same_model_is_dashed_in_its_colour() -> None:
    mine = ModelResults("mine", PAPERS, tuple(whitebox()))
    over, along = made(mine).axes
    (line,) = lines(over, f"{PAPERS}, as published")
    assert points(over, f"{PAPERS}, as published")[:3] == near(
        (0, 84.2), (0.01, 67.032), (0.02, 52.352)
    )
    assert points(along, f"{PAPERS}, as published") == near(
        (10, 40.708), (20, 10.248), (30, 2.732), (40, 0.788), (50, 0.3)
    )
    assert line.get_color() == lines(over, "mine")[0].get_color() == COLOURS[0]
    assert (line.get_linestyle(), lines(over, "mine")[0].get_linestyle()) == ("--", "-")


def test_all_the_papers_models_are_grey_with_hollow_markers_of_their_own() -> None:
    figure = made(entry(*transfer(), *whitebox()), all_published=True)
    for axes in figure.axes:
        others = [line for line in axes.get_lines() if "published" in str(line.get_gid())]
        assert {line.get_color() for line in others} == {MUTED}
        assert len({line.get_marker() for line in others}) == 5
    assert f"{PAPERS}, as published" in words(figure)
    assert not any(
        "published" in str(line.get_gid())
        for line in made(entry(*transfer(source="alexnet")), all_published=True).axes[0].lines
    )


def test_intervals_are_bands() -> None:
    axes = made(entry(*whitebox())).axes[1]
    (band,) = (part for part in axes.collections if isinstance(part, PolyCollection))
    corners = {(float(x), round(float(y), 6)) for x, y in np.asarray(band.get_paths()[0].vertices)}
    assert corners == {(10, 42), (10, 45), (50, 38), (50, 41)}


def test_only_panels_with_numbers_are_drawn_and_one_alone_has_no_letter() -> None:
    (axes,) = made(entry(*transfer())).axes
    assert list(axes.texts) == []
    assert len(made(entry(*whitebox(steps=(10,)))).axes) == 1
    at_large = made(entry(*whitebox(epsilons=(0.01, 0.2)))).axes[1]
    assert at_large.get_title(loc="left") == "white-box\nepsilon 0.2"
    assert points(at_large, "m") == near((10, 29), (50, 25))


def test_each_source_has_a_panel() -> None:
    figure = made(entry(*transfer()), entry(*transfer(source="alexnet"), name="other"))
    one, other = figure.axes
    assert (len(lines(one, "m")), len(lines(one, "other"))) == (1, 0)
    assert (len(lines(other, "m")), len(lines(other, "other"))) == (0, 1)
    assert "alexnet itself, under its own attack: target not reached" in words(figure)


def test_a_source_is_drawn_once_where_models_share_it_and_warned_of_where_it_stays_right() -> None:
    figure = made(entry(*transfer()), entry(*transfer(), name="other"))
    assert len(lines(figure.axes[0], "source")) == 1
    assert "warning" not in words(figure)
    assert "warning: the attack leaves resnext50_32x4d itself right on 43.0 %" in words(
        made(entry(*transfer(weak=0.43)))
    )
    unknown = made(entry(*(s for s in transfer() if s.metric != "source_accuracy")))
    assert "how resnext50_32x4d itself fares under its own attack is not known" in words(unknown)


def test_marks_stand_behind_the_name_and_are_explained() -> None:
    figure = made(replace(entry(*whitebox(n=20, complete=False)), marks="^"))
    assert "m*^" in [text.get_text() for text in figure.texts]
    assert "* not the whole benchmark: 20 of 25,000 images" in words(figure)
    assert "^ another crop" in words(figure)


def test_models_have_looks_of_their_own_and_more_than_six_are_told() -> None:
    figure = made(*(entry(*whitebox(), name=f"model{k}") for k in range(8)))
    looks = {
        (line.get_color(), line.get_marker())
        for line in figure.axes[0].get_lines()
        if str(line.get_gid()).startswith("model")
    }
    assert looks == set(zip(COLOURS, MARKERS, strict=True))
    assert "2 further models are in the tables only" in words(figure)


def test_there_is_no_figure_without_an_attack_that_has_a_number() -> None:
    refused = [replace(s, value=None, reason="all were skipped") for s in whitebox()]
    for scores in ([score("imagenet", "top1_error", 0.2)], refused):
        entries = [entry(*scores)]
        assert attack_figure(ReportContents(entries, published_beside(entries, True))) is None


def test_long_legends_and_titles_stay_on_the_page_and_off_each_other() -> None:
    long = "torchvision:efficientnet_v2_l (checkpoint_of_mine_epoch_90.pt, limit 1000, run-1)"
    figure = made(
        entry(*whitebox(step_size=2 / 225, n=50_000), *transfer(), name=f"{long} 1"),
        entry(
            *whitebox("standard", epsilons=(4 / 255, 8 / 255), steps=(50, 60)),
            *transfer("standard", steps=(40,)),
            name=f"{long} 2",
        ),
        *(
            entry(*whitebox(epsilons=(k / 100 + 0.001,), steps=(10 * k, 300)), name=f"m{k}")
            for k in range(4)
        ),
    )
    canvas: Any = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    for text in figure.texts:
        assert text.get_window_extent(renderer).x1 <= figure.bbox.width
    heads = [
        text.get_window_extent(renderer)
        for one in figure.axes
        for text in one.findobj(Text)
        if isinstance(text, Text) and text.get_text() == one.get_title(loc="left")
    ]
    assert len(heads) == 3
    assert all(head.x1 < after.x0 for head, after in pairwise(heads))
    assert heads[-1].x1 <= figure.bbox.width


def test_the_papers_curve_has_the_colour_of_the_row_that_is_attacked_alike() -> None:
    rows = [
        ModelResults(protocol, PAPERS, tuple(whitebox(protocol)))
        for protocol in ("standard", "paper")
    ]
    axes = made(*rows).axes[0]
    (published,) = lines(axes, f"{PAPERS}, as published")
    assert published.get_color() == lines(axes, "paper")[0].get_color() == COLOURS[1]


def test_sources_that_are_counted_otherwise_are_drawn_apart() -> None:
    figure = made(entry(*transfer()), entry(*transfer("standard"), name="other"))
    assert len(lines(figure.axes[0], "source")) == 2
    for count in ("target not reached", "label never left"):
        assert f"resnext50_32x4d itself, under its own attack: {count}" in words(figure)


def test_nothing_stands_outside_the_page_or_on_other_text() -> None:
    mine = ModelResults("mine", PAPERS, tuple((*transfer(weak=0.43), *whitebox())))
    figure = made(mine, entry(*whitebox("standard")), all_published=True)
    heights = [text.get_position()[1] for text in figure.texts[1:]]
    assert min(heights) > 0
    bottom = min(axes.get_position().y0 for axes in figure.axes)
    assert max(heights) < bottom
    apart = -np.diff(heights) * figure.get_figheight()
    assert min(apart) > 0.14


def test_the_same_numbers_give_the_same_bytes() -> None:
    mine = entry(*transfer(), *whitebox())
    first, second = (files_of(made(mine, all_published=True)) for _ in range(2))
    assert first == second
    assert first != files_of(made(entry(*transfer(), *whitebox(epsilons=(0.02, 0.06)))))
