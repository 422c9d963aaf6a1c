import importlib.resources
import re

import pytest
from torchvision.models import ResNet50_Weights

from evaluator.evaluate.classes import (
    class_index,
    class_names,
    imagenet_a_index,
    imagenet_r_index,
    wnids,
)


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


@pytest.mark.parametrize("part", [imagenet_a_index(), imagenet_r_index()])
def test_a_part_has_200_of_the_classes_under_their_own_indices(part: dict[str, int]) -> None:
    assert len(part) == 200
    assert list(part) == sorted(part)
    assert part.items() <= class_index().items()


def test_the_two_parts_are_timms() -> None:
    info = importlib.resources.files("timm.data").joinpath("_info")
    for name, part in (("imagenet_a", imagenet_a_index()), ("imagenet_r", imagenet_r_index())):
        assert list(part) == info.joinpath(f"{name}_synsets.txt").read_text().split()
        indices = info.joinpath(f"{name}_indices.txt").read_text().split()
        assert list(part.values()) == [int(index) for index in indices]


def test_the_two_parts_are_those_of_their_authors() -> None:
    # The ends of thousand_k_to_200 in natural-adv-examples' eval.py, of imagenet_r_indices in
    # imagenet-r's, and their sums.
    a, r = list(imagenet_a_index().values()), list(imagenet_r_index().values())
    assert (a[:6], a[-6:], sum(a)) == (
        [6, 11, 13, 15, 17, 22],
        [980, 981, 984, 986, 987, 988],
        102178,
    )
    assert (r[:6], r[-6:], sum(r)) == ([1, 2, 4, 6, 8, 9], [965, 967, 980, 981, 983, 988], 86135)
    assert len(set(a) & set(r)) == 86
