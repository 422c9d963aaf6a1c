"""The 16 categories: their counts, and their classes by name."""

from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.evaluate.classes import class_index, wnids

# Some of the WordNet ids in code/helper/human_categories.py of rgeirhos/texture-vs-shape: all of
# the small categories, and the ends and the gaps of the large ones.
WNIDS = {
    "airplane": "n02690373",
    "bear": "n02132136 n02133161 n02134084 n02134418",
    "bicycle": "n02835271 n03792782",
    "boat": "n02951358 n03344393 n03662601 n04273569 n04612504",
    "bottle": "n02823428 n03937543 n03983396 n04557648 n04560804 n04579145 n04591713",
    "car": "n02814533 n03100240 n04285008",
    "cat": "n02123045 n02123159 n02123394 n02123597 n02124075 n02125311",
    "chair": "n02791124 n03376595 n04099969 n04429376",
    "clock": "n02708093 n03196217 n04548280",
    "elephant": "n02504013 n02504458",
    "keyboard": "n03085013 n04505470",
    "knife": "n03041632",
    "oven": "n04111531",
    "truck": "n03345487 n03417042 n03770679 n03796401 n03930630 n03977966 n04461696 n04467665",
}
ENDS = {
    "bird": "n01514859 n01530575 n01560419 n01582220 n01622779 n01795545 n01820546 n02056570",
    "dog": "n02085782 n02096051 n02096294 n02105251 n02105505 n02110185 n02110627 n02113978",
}
NONE_OF_THEM = "n01518878 n01580077 n02096177 n02105412 n02110341 n02085620 n02112137 n02058221"


def test_there_are_16_categories_and_207_classes_each_in_one() -> None:
    assert list(CATEGORIES) == sorted(CATEGORIES)
    assert len(CATEGORIES) == 16
    everything = [index for indices in CATEGORIES.values() for index in indices]
    assert len(everything) == len(set(everything)) == 207
    assert all(0 <= index < 1000 for index in everything)
    assert (len(CATEGORIES["dog"]), len(CATEGORIES["bird"])) == (109, 49)


def test_the_classes_are_those_of_the_wordnet_ids() -> None:
    index = class_index()
    for name, ids in WNIDS.items():
        assert CATEGORIES[name] == tuple(index[wnid] for wnid in ids.split())
    for name, ids in ENDS.items():
        assert {index[wnid] for wnid in ids.split()} <= set(CATEGORIES[name])
    assert not {wnids()[i] for those in CATEGORIES.values() for i in those} & set(
        NONE_OF_THEM.split()
    )
