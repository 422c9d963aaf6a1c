"""The published shape biases, as their sources print them."""

from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.reporting.published.shape_bias import published_shape_bias


def printed(rule: str | None, stimuli: int) -> dict[tuple[str, str], float]:
    rows = [r for r in published_shape_bias() if (r.rule, r.stimuli) == (rule, stimuli)]
    return {(row.name, row.weights.split(" ")[0]): round(100 * row.value, 2) for row in rows}


def test_geirhos_published_values_name_their_weights_and_no_rule() -> None:
    # Geirhos et al., ICLR 2019; torchvision's AlexNet and VGG-16 are from their README.
    assert printed(None, 1200) == {
        ("AlexNet", "Caffe"): 42.9,
        ("GoogLeNet", "Caffe"): 31.2,
        ("VGG-16", "Caffe"): 17.2,
        ("ResNet-50", "torchvision"): 22.1,
        ("Shape-ResNet-50", "trained"): 81.0,
        ("humans", ""): 95.9,
        ("AlexNet", "torchvision"): 25.3,
        ("VGG-16", "torchvision"): 9.2,
    }


def test_their_readme_has_two_networks_by_the_mean() -> None:
    assert printed("mean", 1200) == {
        ("ResNet-50", "torchvision"): 21.39,
        ("Shape-ResNet-50", "trained"): 81.37,
    }


def test_the_papers_models_are_those_of_its_table_3() -> None:
    table = [round(value, 1) for value in printed("argmax", 1201).values()]
    assert table == [25.9, 39.1, 42.7, 40.6, 42.8]


def test_nothing_is_published_without_its_source() -> None:
    assert all(row.source and 0 < row.value < 1 for row in published_shape_bias())


def test_decisions_by_category_pool_to_the_published_biases() -> None:
    rows = [row for row in published_shape_bias() if row.decisions]
    assert [(row.name, row.weights) for row in rows] == [
        ("AlexNet", "Caffe"),
        ("GoogLeNet", "Caffe"),
        ("VGG-16", "Caffe"),
        ("ResNet-50", "torchvision"),
    ]
    for row in rows:
        assert list(row.decisions) == list(CATEGORIES)
        assert all(shape + texture <= 75 for shape, texture in row.decisions.values())
        shape = sum(count for count, _ in row.decisions.values())
        texture = sum(count for _, count in row.decisions.values())
        assert round(shape / (shape + texture), 3) == row.value
        assert row.rule is None


def test_the_mean_over_categories_is_not_the_published_bias() -> None:
    (resnet,) = [row for row in published_shape_bias() if row.value == 0.221]
    biases = [shape / (shape + texture) for shape, texture in resnet.decisions.values()]
    assert round(sum(biases) / 16, 3) == 0.195
