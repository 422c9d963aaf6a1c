"""Tables from rows of numbers: the paper's with a user's above, each benchmark's, the generic."""

from typing import Any

import pytest

from evaluator.contracts import Score
from evaluator.reporting.model_results import ModelResults
from evaluator.reporting.published.paper import published_models, published_scores
from evaluator.reporting.table import Table
from evaluator.reporting.tables import report as tables
from evaluator.tests.score_rows import NOT_THERE, entry, flips, refused_bias, score, shape_bias


def made(*entries: ModelResults, all_published: bool = False) -> list[Table]:
    return tables.report_tables(entries, all_published=all_published)


def table(found: list[Table], title: str) -> Table:
    return next(one for one in found if one.title.startswith(title))


def titles(found: list[Table]) -> list[str]:
    return [one.title for one in found]


def mce(value: float | None = 0.5, **more: Any) -> Score:
    return score("imagenet-c", "mce", value, **{"n": 50_000, "complete": True, **more})


def test_table_1_has_the_users_models_then_the_papers_rows_as_printed() -> None:
    mfr = score("imagenet-p", "mfr", 0.461, low=0.45, high=0.47, n=50_000, complete=True)
    refused = score("imagenet-p", "mt5d", reason="it needs a baseline")
    one = table(made(entry(mce(n=8, complete=False), mfr, refused)), "Table 1")
    assert one.header == ("model", "mCE %", "relative mCE %", "mT5D %", "mFR %")
    assert one.rows[0] == ("m", "50.0*", "", "refused", "46.1 [45.0, 47.0]")
    assert one.rows[1] == ("resnext101_32x8d, as printed", "66.6", "91.1", "70.5", "46.1")
    assert one.rows[6][1:] == ("60.4", "75.7", "", "")
    assert one.rows[7] == (
        "resnext101_64x4d (Hendrycks and Dietterich, 2019), as printed",
        *("62.2", "80.1", "65.9", "43.2"),
    )
    assert len(one.rows) == 8
    assert "m: mT5D refused: it needs a baseline" in one.notes
    assert "* not the whole benchmark: 8 of 50,000 images a condition" in one.notes


def test_table_1_is_left_out_where_no_model_has_a_number_of_it() -> None:
    refused = mce(None, reason="a cell is missing")
    clean = score("imagenet", "top1_error", 0.2, n=50_000, complete=True)
    for scores in ((clean,), (clean, refused)):
        assert not any(title.startswith("Table 1") for title in titles(made(entry(*scores))))


def test_table_1_says_by_which_run_mt5d_is_normalised_and_by_what_the_papers() -> None:
    mt5d = score("imagenet-p", "mt5d", 0.5, normalize_by="runs/alexnet", n=8)
    notes = table(made(entry(mt5d)), "Table 1").notes
    assert "m: mT5D is normalised by the run runs/alexnet" in notes
    assert any("Hendrycks & Dietterich (2019), whose T5D is not published" in n for n in notes)


def test_mfr_by_the_published_alexnet_stands_beside_the_papers_and_the_other_below() -> None:
    measured = score("imagenet-p", "mfr", 0.9, normalize_by="runs/alexnet", n=8)
    published = score("imagenet-p", "mfr", 0.4, n=8)
    found = made(entry(measured, published, *flips()))
    assert table(found, "Table 1").rows[0][-1] == "40.0*"
    assert table(found, "Robustness").rows[0][1] == "40.0*"
    below = "m: mFR normalised by the run runs/alexnet: 90.0 %*"
    assert below in table(found, "m: ImageNet-P").notes


def test_a_model_alone_has_one_table_of_perturbations() -> None:
    one = table(made(entry(*flips())), "m: ImageNet-P")
    assert one.header == ("perturbation", "flip probability %", "flip rate FR %", "T5D")
    assert len(one.rows) == 10
    # 100 x 0.02 / 0.23653, and 100 x 0.2 / 0.23531
    assert one.rows[0] == ("gaussian_noise", "2.0", "8.5", "1.00")
    assert one.rows[9] == ("scale", "20.0", "85.0", "3.25")


def test_models_stand_side_by_side_with_the_papers_raw_values_of_each_perturbation() -> None:
    found = made(entry(*flips(n=8, complete=False), name="resnext101_32x8d"))
    flip = table(found, "Flip probability %")
    assert flip.header == (
        "perturbation", "resnext101_32x8d*", "resnext101_32x8d, as published"
    )  # fmt: skip
    assert flip.rows[0] == ("gaussian_noise", "2.0", "10.6")
    assert flip.notes[0] == "* not the whole benchmark: 8 of 50,000 sequences a condition"
    assert table(found, "Flip rate").rows[0][2] == "44.9"
    assert table(found, "Top-5 distance").rows[9] == ("scale", "3.25", "2.68")


def test_a_perturbation_that_was_not_scored_is_an_empty_cell() -> None:
    scores = [s for s in flips() if s.perturbation != "snow"]
    assert table(made(entry(*scores)), "m: ImageNet-P").rows[4] == ("snow", "", "", "")


def test_table_3_names_rule_and_stimuli_of_every_row() -> None:
    one = table(made(entry(*shape_bias(0.25), *refused_bias())), "Table 3")
    assert one.header[:4] == ("model", "weights", "rule", "stimuli")
    assert one.rows[0] == ("m", "w", "mean", "1,200", "25.0 [20.0, 35.0]*", "60.0*", "61.0*")
    assert one.rows[1] == ("m", "w", "argmax", "1,201", "refused", "refused", "refused")
    assert f"m: shape bias, decided, frac_correct refused: {NOT_THERE}" in one.notes
    assert "* not the whole benchmark: 160 of 1,200 stimuli" in one.notes
    assert all(row[2] and row[3] for row in one.rows)


def test_table_3_has_the_papers_rows_as_printed_and_geirhos_networks_by_their_weights() -> None:
    rows = {row[:3]: row[3:5] for row in table(made(entry(*shape_bias(0.25))), "Table 3").rows}
    printed = "resnext101_32x48d_wsl, as printed"
    assert rows[printed, "as published", "argmax"] == ("1,201", "42.8")
    geirhos = "(Geirhos et al., 2019), as printed"
    assert rows[f"ResNet-50 {geirhos}", "torchvision", "not named"] == ("1,200", "22.1")
    assert rows[f"Shape-ResNet-50 {geirhos}", "Stylized-ImageNet", "not named"] == ("1,200", "81")
    assert rows[f"Humans {geirhos}", "", "people"] == ("1,200", "95.9")
    readme = "(rgeirhos/texture-vs-shape, README)"
    assert rows[f"AlexNet {readme}", "torchvision", "not named"] == ("1,200", "25.3")
    assert rows["AlexNet (Geirhos et al., ICLR 2019)", "Caffe", "not named"] == ("1,200", "42.9")


def test_the_first_table_shows_the_recommended_rule_and_no_refusal_of_another() -> None:
    one = table(made(entry(*shape_bias(0.25), *refused_bias())), "Robustness")
    assert one.rows == (("m", "25.0 [20.0, 35.0]*"),)
    assert not any("refused" in note for note in one.notes)
    assert any("by the rule mean, over the 1,200 stimuli" in note for note in one.notes)


def test_a_published_model_without_a_number_of_the_first_table_is_not_in_it() -> None:
    one = table(made(entry(*shape_bias(0.25), name="resnext101_32x8d")), "Robustness")
    assert [row[0] for row in one.rows] == ["resnext101_32x8d"]


def test_categories_have_a_table_a_protocol_with_what_was_decided() -> None:
    found = made(entry(*shape_bias(0.25), *shape_bias(0.3, "argmax", 1201)))
    mean, argmax = (t for t in found if t.title.startswith("Shape bias % by category"))
    assert mean.title.endswith("rule mean over 1,200 stimuli")
    assert argmax.title.endswith("rule argmax over 1,201 stimuli")
    published = "ResNet-50 (torchvision), published"
    assert mean.header[:3] == ("category", "m*", "decided %*")
    assert mean.header[-1] == published
    assert any(note.startswith("published: counted") for note in mean.notes)
    assert argmax.header == ("category", "m*", "decided %*")
    # 2 and 24 decisions for the shape, 38 and 37 for the texture.
    assert (*mean.rows[1][:3], mean.rows[1][-1]) == ("bear", "6.2", "5.0", "5.0")
    assert (*mean.rows[15][:3], mean.rows[15][-1]) == ("truck", "refused", "75.0", "39.3")
    # Not the ten stimuli of a category, of 1,200.
    assert "* not the whole benchmark: 160 of 1,200 stimuli" in mean.notes
    assert "refused, nothing was decided: truck" in mean.notes


def test_a_benchmark_without_a_module_of_its_own_has_a_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "OF_BENCHMARK", {})
    one = score("imagenet-c", "accuracy", 0.25, low=0.2, high=0.3, n=8)
    other = score("imagenet-c", "aurra", reason="too few", n=8)
    new = score("imagenet-c", "some_new_number", 0.5, n=8)
    found = table(made(entry(one, other, new, marks="^")), "ImageNet-C")
    assert found.header == ("model", "accuracy %", "AURRA %", "some new number %")
    assert found.rows == (("m", "25.0 [20.0, 30.0]*^", "refused", "50.0*^"),)
    assert found.notes == (
        "* not the whole benchmark: 8 of 50,000 images a condition",
        "^ another crop than the model was trained with",
        "[low, high]: 95 % Wilson interval",
        "m: AURRA refused: too few",
    )


def test_the_generic_table_has_a_row_for_each_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "OF_BENCHMARK", {})
    found = table(made(entry(*flips())), "ImageNet-P")
    assert found.header == ("model", "condition", "flip probability %", "T5D")
    assert found.words == (0, 1)
    assert found.rows[1] == ("m", "shot_noise", "4.0", "1.25")


def test_every_number_of_every_table_is_marked() -> None:
    scores = (
        mce(generated=True, n=8, complete=False),
        score("imagenet-p", "mfr", 0.4, n=8, generated=True),
        *flips(n=8, complete=False, generated=True),
        *shape_bias(0.25, generated=True),
    )
    found = made(entry(*scores, marks="^"))
    checked = 0
    for one in found[:-1]:
        for row in one.rows:
            if one.header[0] == "model" and row[0] != "m":
                continue
            for header, cell in zip(one.header, row, strict=True):
                if cell[:1].isdigit() and header != "stimuli" and "published" not in header:
                    checked += 1
                    assert cell.endswith("*+^") or header.endswith("*+^"), (one.title, row)
    # mCE and mFR twice, the bias twice, what was decided; ten perturbations; 15 and 16 categories.
    assert checked == 2 + 2 + 2 + 2 + 30 + 31
    legends = [note for one in found for note in one.notes if note.startswith("+ generated")]
    assert len(legends) == len(found) - 1


def test_an_entry_finds_only_the_number_with_all_its_keys() -> None:
    one = entry(*shape_bias(0.25), *shape_bias(0.75, "argmax"))
    found = one.find("cue-conflict", "shape_bias", rule="argmax", stimuli=1200)
    assert found is not None
    assert found.value == 0.75
    assert one.find("cue-conflict", "shape_bias") is None
    assert one.find("cue-conflict", "shape_bias", rule="argmax", stimuli=1201) is None


@pytest.mark.parametrize("model", published_models())
def test_published_numbers_have_the_names_that_the_benchmarks_give(model: str) -> None:
    found = {(s.benchmark, s.metric, s.rule, s.stimuli) for s in published_scores(model)}
    assert {
        ("imagenet-p", "mfr", None, None),
        ("imagenet-p", "mt5d", None, None),
        ("imagenet-p", "flip_probability", None, None),
        ("imagenet-p", "t5d", None, None),
        ("cue-conflict", "shape_bias", "argmax", 1201),
        ("cue-conflict", "frac_correct", "argmax", 1201),
        ("imagenet-a", "accuracy", None, None),
        ("imagenet-a", "rms_calibration_error", None, None),
        ("imagenet-a", "aurra", None, None),
    } <= found


def test_published_numbers_are_fractions_and_round_to_what_the_paper_prints() -> None:
    for model, mt5d, mfr, bias in (
        ("resnext101_32x8d", 70.5, 46.1, 25.9),
        ("resnext101_32x8d_wsl", 58.2, 38.8, 39.1),
        ("resnext101_32x16d_wsl", 53.7, 32.7, 42.7),
        ("resnext101_32x32d_wsl", 53.9, 29.7, 40.6),
        ("resnext101_32x48d_wsl", 52.9, 27.8, 42.8),
    ):
        values = {s.metric: s.value for s in published_scores(model) if s.perturbation is None}
        printed = {"mt5d": mt5d, "mfr": mfr, "shape_bias": bias}
        for metric, expected in printed.items():
            value = values[metric]
            assert value is not None
            assert round(100 * value, 1) == expected
        (a,) = (s for s in published_scores(model) if s.metric == "mt5d")
        assert a.normalize_by == "AlexNet of Hendrycks & Dietterich (2019)"


def test_all_the_papers_models_stand_in_every_table_on_request() -> None:
    found = made(entry(*flips()), all_published=True)
    assert len(table(found, "Flip probability %").header) == 1 + 1 + 5
