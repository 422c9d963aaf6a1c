"""Figures: what is where, what is said of it; not how it looks."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.evaluate.classes import class_names
from evaluator.reporting.figures.drawing import COLOURS, MARKERS, files_of, shortened, style
from evaluator.reporting.figures.shape_bias import NAME_WIDTH, shape_bias_figure
from evaluator.reporting.figures.stimulus import stimulus_figure
from evaluator.reporting.figures.stimulus_examples import Classes, Example, answers_of, chosen
from evaluator.reporting.model_results import ModelResults
from evaluator.reporting.published.shape_bias import references_of, spread
from evaluator.tests.score_rows import entry, refused_bias, shape_bias

CLASSES = Classes(class_names(), CATEGORIES)


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with style():
        yield


def bias_figure(*entries: ModelResults, rule: str = "mean", stimuli: int = 1200) -> Figure:
    figure = shape_bias_figure(entries, rule, stimuli)
    assert figure is not None
    return figure


def lines(axes: Axes, gid: str) -> list[np.ndarray[Any, Any]]:
    return [np.array(line.get_xydata()) for line in axes.get_lines() if line.get_gid() == gid]


def words(figure: Figure) -> str:
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return "\n".join(text.get_text() for text in texts)


def test_each_category_has_a_marker_at_its_fraction_of_texture() -> None:
    main, _ = bias_figure(entry(*shape_bias(0.25))).axes
    (markers,) = lines(main, "m")
    # The last category has no number: nothing was decided.
    assert markers[:, 0].tolist() == [1 - k / 16 for k in range(15)]
    assert markers[:, 1].tolist() == list(range(15))
    labels = [label.get_text() for label in main.get_yticklabels()]
    assert labels == [*CATEGORIES, "all stimuli"]


def test_shape_is_on_the_left_and_texture_on_the_right_as_geirhos_et_al_draw_it() -> None:
    main, _ = bias_figure(entry(*shape_bias(0.25))).axes
    assert main.get_xlim() == (0, 1)
    assert main.get_xlabel() == "fraction of decisions for texture"
    (above,) = main.child_axes
    assert above.get_xlabel() == "fraction of decisions for shape"
    assert [label.get_text() for label in above.get_xticklabels()][:2] == ["1.0", "0.9"]


def test_a_line_stands_at_the_bias_over_all_stimuli_with_its_interval_below() -> None:
    main, _ = bias_figure(entry(*shape_bias(0.25))).axes
    drawn = [np.array(line.get_xydata()) for line in main.get_lines()]
    vertical = [xy for xy in drawn if len(xy) == 2 and set(xy[:, 0]) == {0.75}]
    assert len(vertical) == 1
    whiskers = [xy for xy in drawn if len(xy) == 2 and xy[0, 1] == xy[1, 1] == 16]
    assert [xy[:, 0].tolist() for xy in whiskers] == [[pytest.approx(0.65), pytest.approx(0.8)]]


def test_bars_say_how_many_stimuli_were_decided() -> None:
    _, bars = bias_figure(entry(*shape_bias(0.25))).axes
    lengths = [patch.get_width() for patch in bars.patches]  # type: ignore[attr-defined]
    assert lengths == [*(k / 20 for k in range(16)), 0.6]
    without = [s for s in shape_bias(0.25) if s.metric != "category_decided"]
    assert len(bias_figure(entry(*without)).axes) == 1


def test_published_biases_are_lines_with_their_weights_and_a_sign_for_an_unnamed_rule() -> None:
    figure = bias_figure(entry(*shape_bias(0.25)))
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names == [
        "humans",
        "Shape-ResNet-50 (SIN)",
        "AlexNet (Caffe)†",
        "GoogLeNet (Caffe)†",
        "AlexNet (torchvision)†",
        "ResNet-50 (torchvision)†",
        "ResNet-50 (torchvision)",
        "VGG-16 (Caffe)†",
        "VGG-16 (torchvision)†",
    ]
    ends = [xy[-1, 0] for xy in lines(figure.axes[0], "reference")]
    published = (0.959, 0.8137, 0.429, 0.312, 0.253, 0.221, 0.2139, 0.172, 0.092)
    assert ends == [pytest.approx(1 - bias) for bias in published]
    assert "†: the source does not name its rule" in words(figure)


def test_a_published_model_whose_categories_are_known_has_hollow_markers() -> None:
    figure = bias_figure(entry(*shape_bias(0.25)))
    (markers,) = lines(figure.axes[0], "ResNet-50 (torchvision)†")
    # Airplane: 0 decisions for the shape of 40; truck: 24 of 61.
    assert markers[0].tolist() == [1, 0]
    assert markers[15].tolist() == [pytest.approx(37 / 61), 15]
    assert "ResNet-50 (torchvision)†, as published: shape bias 22.1 %" in words(figure)


def test_by_the_papers_protocol_the_papers_models_stand_beside() -> None:
    assert [(r.label, round(r.value, 3)) for r in references_of("argmax", 1201)] == [
        ("humans", 0.959),
        ("resnext101_32x48d_wsl", 0.428),
        ("resnext101_32x16d_wsl", 0.427),
        ("resnext101_32x32d_wsl", 0.406),
        ("resnext101_32x8d_wsl", 0.391),
        ("resnext101_32x8d", 0.259),
    ]


def test_names_of_published_models_do_not_overlap() -> None:
    main = bias_figure(entry(*shape_bias(0.3, "argmax", 1201)), rule="argmax", stimuli=1201).axes[0]
    places = sorted(text.get_position()[0] for text in main.texts)
    assert min(np.diff(places)) > NAME_WIDTH * 0.999
    crowded = spread([0.5] * 4 + [0.52, 0.9], 0.1)
    assert min(np.diff(crowded)) == pytest.approx(0.1)
    assert crowded[-1] == pytest.approx(0.9)


def test_rule_and_stimuli_stand_in_the_title_and_numbers_with_their_marks_in_the_legend() -> None:
    text = words(bias_figure(entry(*shape_bias(0.25, generated=True), marks="^")))
    assert "Decision rule mean, 1,200 cue-conflict stimuli" in text
    assert "m: shape bias 25.0 [20.0, 35.0] %*+^, decided 60.0 %*+^" in text
    for meaning in ("* not the whole benchmark: 160 of 1,200 stimuli", "+ generated", "^ another"):
        assert meaning in text


def test_models_have_markers_and_colours_of_their_own_and_more_than_six_are_told() -> None:
    entries = [entry(*shape_bias(0.1 * k), name=f"model{k}") for k in range(8)]
    figure = bias_figure(*entries)
    looks = {
        (line.get_color(), line.get_marker())
        for line in figure.axes[0].get_lines()
        if (line.get_gid() or "").startswith("model")
    }
    assert looks == set(zip(COLOURS, MARKERS, strict=True))
    assert "2 further models are in the tables only" in words(figure)


def test_there_is_no_figure_without_a_number_by_its_rule() -> None:
    assert shape_bias_figure([entry(*refused_bias())], "argmax", 1201) is None
    assert shape_bias_figure([entry(*shape_bias(0.2))], "argmax", 1201) is None


def test_a_long_name_is_shortened_and_its_marks_are_not() -> None:
    name = "a very long name " * 8
    text = words(bias_figure(entry(*shape_bias(0.25), name=name)))
    assert f"{shortened(name, 55)}: shape bias 25.0 [20.0, 35.0] %*" in text
    assert len(shortened(name, 55)) == 55


def test_names_with_dollars_and_letters_that_the_font_lacks_are_drawn() -> None:
    files_of(bias_figure(entry(*shape_bias(0.25), name="$\\frac{a}$ 模型")))


def test_the_same_numbers_give_the_same_bytes() -> None:
    first, second = (files_of(bias_figure(entry(*shape_bias(0.25)))) for _ in range(2))
    assert first == second
    assert first[".png"].startswith(b"\x89PNG")
    assert ElementTree.fromstring(first[".svg"]).tag.endswith("svg")
    assert b"<text" not in first[".svg"]


def record(shape: str, texture: str, decided: str, top: int, number: int = 1) -> dict[str, Any]:
    """A stimulus that is decided for something, whose likeliest class is ``top``."""
    return {
        "id": f"{shape}{number}-{texture}1.png",
        "shape": shape,
        "texture": texture,
        "mean": decided,
        "top5": [top, 1, 2, 3, 5],
        "probability": [0.5, 0.25, 0.125, 0.0625, 0.001],
        "error": None,
    }


def example(of: dict[str, Any], models: int = 1) -> Example:
    pixels = np.full((224, 224, 3), 9, np.uint8)
    return Example(of["id"], of["shape"], of["texture"], pixels, [answers_of(of, CLASSES)] * models)


def test_examples_are_decided_for_shape_first_then_for_texture_each_of_another_category() -> None:
    bottle, cat, clock, dog = 440, 281, 409, 152
    records = [
        record("bottle", "cat", "cat", cat),
        record("cat", "clock", "cat", cat),
        record("clock", "dog", "clock", 7),  # its category is not in the top-5
        record("clock", "dog", "clock", clock, number=2),
        record("dog", "bottle", "bottle", bottle),
        record("bicycle", "dog", "oven", 7),
        record("dog", "dog", "dog", dog),
    ]
    ids = [r["id"] for r in chosen(records, 4, CLASSES)]
    assert ids == ["cat1-clock1.png", "clock2-dog1.png", "bottle1-cat1.png", "dog1-bottle1.png"]
    assert chosen(records[::-1], 4, CLASSES) == chosen(records, 4, CLASSES)
    assert len(chosen(records, 8, CLASSES)) == 5


def test_examples_are_spread_over_the_categories_and_leave_out_what_was_skipped() -> None:
    records = [
        record(name, "cat" if name == "oven" else "oven", name, classes[0])
        for name, classes in CATEGORIES.items()
    ]
    found = [r["shape"] for r in chosen(records, 8, CLASSES)]
    assert found[:4] == ["airplane", "boat", "chair", "keyboard"]
    assert len(set(found)) == 8
    records[0]["error"] = "cannot be decoded"
    assert "airplane" not in [r["shape"] for r in chosen(records, 16, CLASSES)]


def test_classes_of_the_shape_and_of_the_texture_are_told_apart() -> None:
    one = record("cat", "clock", "cat", 281)
    one["top5"] = [281, 409, 7, 8, 9]
    assert [answer.match for answer in answers_of(one, CLASSES)] == ["shape", "texture", "", "", ""]
    figure = stimulus_figure([entry(*shape_bias(0.2))], [example(one)])
    looks = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert looks["● tabby"] == looks["● cat"] == COLOURS[0]
    assert looks["■ analog clock"] == looks["■ clock"] == COLOURS[1]
    assert looks["cock"] not in COLOURS
    assert {"50 %", "25 %", "< 1 %"} <= looks.keys()


def test_every_example_has_its_picture_and_five_answers_of_each_model_with_marks() -> None:
    shown = [example(record("cat", "clock", "cat", 281), models=2) for _ in range(5)]
    one, other = entry(*shape_bias(0.2)), entry(*shape_bias(0.2), name="other", marks="^")
    (axes,) = stimulus_figure([one, other], shown).axes
    pictures = [child for child in axes.get_children() if isinstance(child, AxesImage)]
    assert len(pictures) == 5
    assert {picture.get_gid() for picture in pictures} == {"cat1-clock1.png"}
    assert len(axes.patches) >= 5 * 2 * 5
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("m*") == texts.count("other*^") == 5
    assert "^ another crop than the model was trained with" in texts
    assert any("CC BY 4.0" in text for text in texts)


def test_pictures_do_not_overlap_and_stand_on_the_page() -> None:
    shown = [example(record("cat", "clock", "cat", 281)) for _ in range(8)]
    figure = stimulus_figure([entry(*shape_bias(0.2))], shown)
    (axes,) = figure.axes
    places = [child.get_extent() for child in axes.get_children() if isinstance(child, AxesImage)]
    width, height = figure.get_size_inches()
    for left, right, bottom, top in places:
        assert 0 < left < right < width
        assert 0 < top < bottom < height
    for one, other in combinations(places, 2):
        beside = one[1] <= other[0] or other[1] <= one[0]
        assert beside or one[2] <= other[3] or other[2] <= one[3]


def test_a_score_is_needed_only_of_one_rule_for_the_marks_of_answers() -> None:
    refused = replace(next(shape_bias(0.2)), value=None, reason="nothing was decided")
    of = entry(refused, *shape_bias(0.2, "argmax"))
    (axes,) = stimulus_figure([of], [example(record("cat", "clock", "cat", 281))]).axes
    assert "m*" in [text.get_text() for text in axes.texts]
