"""The published shape biases, as their sources print them."""

from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.evaluate.report.published_shape_bias import published_shape_bias


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


def test_the_categories_of_resnet_50_pool_to_its_published_bias() -> None:
    (resnet,) = [row for row in published_shape_bias() if row.decisions]
    assert (resnet.name, resnet.weights, resnet.rule) == ("ResNet-50", "torchvision", None)
    assert list(resnet.decisions) == list(CATEGORIES)
    shape = sum(count for count, _ in resnet.decisions.values())
    texture = sum(count for _, count in resnet.decisions.values())
    assert round(shape / (shape + texture), 3) == resnet.value == 0.221
    # Which the mean over categories is not, and no category has more than its 75 stimuli.
    biases = [s / (s + t) for s, t in resnet.decisions.values()]
    assert round(sum(biases) / 16, 3) == 0.195
    assert all(s + t <= 75 for s, t in resnet.decisions.values())
