import re

import pytest
from torchvision.models import ResNet50_Weights

from evaluator.evaluate.classes import class_index, class_names, wnids


def test_there_are_1000_classes() -> None:
    assert len(class_index()) == len(wnids()) == len(class_names()) == 1000


def test_an_index_is_the_position_among_the_sorted_wordnet_ids() -> None:
    assert list(wnids()) == sorted(set(wnids()))
    assert class_index() == {wnid: position for position, wnid in enumerate(wnids())}


def test_every_wordnet_id_is_a_noun_of_eight_digits() -> None:
    assert [wnid for wnid in wnids() if not re.fullmatch(r"n\d{8}", wnid)] == []


@pytest.mark.parametrize(
    ("wnid", "index", "name"),
    [
        ("n01440764", 0, "tench"),
        ("n02099601", 207, "golden retriever"),
        ("n02110341", 251, "dalmatian"),
        ("n02123045", 281, "tabby"),
        ("n02504458", 386, "African elephant"),
        ("n02012849", 134, "crane"),
        ("n03126707", 517, "crane"),
        ("n15075141", 999, "toilet tissue"),
    ],
)
def test_a_class_is_where_the_literature_has_it(wnid: str, index: int, name: str) -> None:
    assert class_index()[wnid] == index
    assert name in class_names()[index]


@pytest.mark.parametrize("wnid", ["n02084071", "n00001740", "N01440764", "n01440764 ", "0", ""])
def test_what_is_no_leaf_of_imagenet_has_no_index(wnid: str) -> None:
    # n02084071 is "dog": WordNet's parent of 118 of the classes, and none of them itself.
    assert wnid not in class_index()


def test_the_names_are_torchvisions() -> None:
    assert class_names() == tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def test_no_name_tells_two_classes_alike() -> None:
    assert len(set(class_names())) == 1000
