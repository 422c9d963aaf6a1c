from pathlib import Path

import pytest

from evaluator.contracts import Condition, NullProgress
from evaluator.errors import ImageError, InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS, IMAGENET_C
from evaluator.evaluate.sources.folder import FolderSource
from evaluator.evaluate.sources.items import Items, Place, select_items, shared_items
from evaluator.workflow.runs.selection import Values, select

TENCH, DALMATIAN = "n01440764", "n02110341"  # classes 0, 251
IDS = tuple(f"{wnid}/{name}.JPEG" for wnid in (TENCH, DALMATIAN) for name in "abcd")


def cell(corruption: str, severity: int) -> Condition:
    return Condition((("corruption", corruption), ("severity", severity)))


def items() -> Items:
    return Items(IDS, Place("/tree/"))


def tree_of(root: Path, **conditions: str) -> FolderSource:
    """``fog_1="ab"`` is the images a and b under fog at severity 1."""
    for name, images in conditions.items():
        for image in images:
            path = root / name.replace("_", "/") / TENCH / f"{image}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{name} {image}".encode())
    return FolderSource(root, CONDITIONS)


def test_lazy_items_are_the_sequence_that_a_list_of_them_would_be() -> None:
    lazy, listed = items(), list(items())
    assert [item.id for item in listed] == list(IDS)
    assert [item.label for item in listed] == [0] * 4 + [251] * 4
    assert listed[5].location == f"/tree/{DALMATIAN}/b.JPEG"
    assert (lazy[0], lazy[-1], lazy[7]) == (listed[0], listed[-1], listed[7])
    assert lazy[2] in lazy
    assert lazy.index(listed[3]) == 3
    for outside in (8, -9):
        with pytest.raises(IndexError):
            lazy[outside]


@pytest.mark.parametrize(
    "part", [slice(2, 5), slice(5), slice(6, 99), slice(None, None, 3), slice(None, None, -1)]
)
def test_a_slice_and_a_slice_of_it_hold_what_a_lists_would(part: slice) -> None:
    lazy, listed = items()[part], list(items())[part]
    assert isinstance(lazy, Items)
    assert list(lazy) == listed
    assert len(lazy) == len(listed)
    assert list(lazy[1:3]) == listed[1:3]
    assert lazy[-1] == listed[-1]


@pytest.mark.parametrize("limit", [1, 3, 8, 9, None])
def test_a_limit_selects_the_same_items_as_from_a_list(limit: int | None) -> None:
    chosen = select_items(range(len(IDS)), limit)
    assert list(items().at(chosen)) == select_items(list(items()), limit)
    assert list(items().at(chosen)[1:]) == select_items(list(items()), limit)[1:]


def test_equal_ids_are_kept_once(tmp_path: Path) -> None:
    source = tree_of(tmp_path, fog_1="ab", fog_2="ab", fog_3="b")
    first, second, other = (source.items(cell("fog", severity)).ids for severity in (1, 2, 3))
    assert second is first
    assert other == first[1:]


def test_conditions_of_a_tree_share_their_ids(tmp_path: Path) -> None:
    source = tree_of(tmp_path, fog_1="ab", fog_2="ab", snow_3="ba")
    found = shared_items(source, source.conditions())
    assert len({id(items.ids) for items in found.values()}) == 1


def test_what_a_condition_lacks_is_an_item_that_cannot_be_read(tmp_path: Path) -> None:
    source = tree_of(tmp_path, fog_1="abc", fog_2="ac", snow_1="d")
    found = shared_items(source, source.conditions(), missing_ok=True)
    for condition, there in (
        (cell("fog", 1), "abc"),
        (cell("fog", 2), "ac"),
        (cell("snow", 1), "d"),
    ):
        items = found[condition]
        assert [item.id for item in items] == [f"{TENCH}/{image}.JPEG" for image in "abcd"]
        assert [item.missing for item in items] == [image not in there for image in "abcd"]
        for item, image in zip(items, "abcd", strict=True):
            if image in there:
                name = f"{condition['corruption']}_{condition['severity']} {image}"
                assert source.read(item) == name.encode()
            else:
                with pytest.raises(
                    ImageError, match="is missing, but other conditions have"
                ) as raised:
                    source.read(item)
                assert f"{TENCH}/{image}.JPEG" in str(raised.value)


def test_missing_images_do_not_change_which_run_it_is(tmp_path: Path) -> None:
    whole = tree_of(tmp_path / "whole", fog_1="abc", fog_2="abc")
    holed = tree_of(tmp_path / "holed", fog_1="abc", fog_2="bc")
    wanted: Values = {"corruption": ["fog"], "severity": [1, 2]}
    complete = select(IMAGENET_C, whole, wanted, limit=None, progress=NullProgress())
    with pytest.raises(InputError, match="severity=2 lacks 1 of 3 images"):
        select(IMAGENET_C, holed, wanted, limit=None, progress=NullProgress())
    for limit in (None, 2):
        selected = select(
            IMAGENET_C, holed, wanted, limit=limit, progress=NullProgress(), missing_ok=True
        )
        assert selected.ids_sha256 == complete.ids_sha256
        assert selected.count == (limit or 3)
        assert selected.items[cell("fog", 2)][0].missing


@pytest.mark.parametrize("wanted", [None, ["fog"], ["snow"]])
def test_what_is_scored_now_does_not_change_which_run_it_is(
    tmp_path: Path, wanted: list[str] | None
) -> None:
    source = tree_of(tmp_path, fog_1="abcd", fog_2="abcd", snow_1="abc", snow_2="ab")
    everything: Values = {"corruption": None, "severity": None}
    expected = select(
        IMAGENET_C, source, everything, limit=None, progress=NullProgress(), missing_ok=True
    )
    found = select(
        IMAGENET_C,
        source,
        {"corruption": wanted},
        limit=None,
        progress=NullProgress(),
        missing_ok=True,
    )
    assert (found.ids_sha256, found.count) == (expected.ids_sha256, 4)
    for condition in found.conditions:
        assert wanted is None or condition["corruption"] in wanted
        assert list(found.items[condition]) == list(expected.items[condition])
    assert len(found.conditions) == (4 if wanted is None else 2)
