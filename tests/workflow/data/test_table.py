"""The table of public data sets: what it states has a form, and a source that can be looked up."""

import re
from urllib.parse import urlsplit

import pytest

from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.table import BENCHMARKS
from evaluator.workflow.data.table import DATA_SETS, IMAGENET, DataSet, find_data_set

DIGITS = {"md5": 32, "sha256": 64}


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=list(DATA_SETS))
def test_addresses_checksums_and_names_are_well_formed(data_set: DataSet) -> None:
    assert data_set.licence
    assert data_set.purpose
    assert urlsplit(data_set.page).scheme == "https"
    assert data_set.benchmark in ("", *BENCHMARKS)
    assert bool(data_set.benchmark) != bool(data_set.usage)
    for archive in data_set.archives:
        if data_set is not IMAGENET:
            address = urlsplit(archive.url)
            assert (address.scheme, address.fragment, address.username) == ("https", "", None)
            assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]+", address.netloc)
            assert address.path.endswith(f"/{archive.name}")
        if archive.checksum is not None:
            assert re.fullmatch("[0-9a-f]+", archive.checksum.digits)
            assert len(archive.checksum.digits) == DIGITS[archive.checksum.kind]


def test_names_are_distinct_within_a_data_set_and_checksums_in_all() -> None:
    for data_set in DATA_SETS.values():
        names = [archive.final_name for archive in data_set.archives]
        assert len(set(names)) == len(names)
    sums = [str(a.checksum) for d in DATA_SETS.values() for a in d.archives if a.checksum]
    assert len(set(sums)) == len(sums)


def test_what_nobody_published_is_not_stated() -> None:
    unknown = {d.name for d in DATA_SETS.values() for a in d.archives if a.checksum is None}
    assert unknown == {"cue-conflict", "imagenet-sketch", "imagenet-c-bar"}


def test_published_sizes_add_up() -> None:
    # "47 GB" of the download page, in units of 2**30.
    sizes = [archive.size_bytes or 0 for archive in DATA_SETS["imagenet-c"].archives]
    assert round(sum(sizes) / 2**30) == 47


def test_a_wrong_name_is_answered_with_a_near_one() -> None:
    assert find_data_set("imagenet-a").title == "ImageNet-A"
    with pytest.raises(InputError, match=r"Unknown data set 'imagenet-1'\. Did you mean imagenet-"):
        find_data_set("imagenet-1")
    with pytest.raises(InputError, match="Expected imagenet, imagenet-c, "):
        find_data_set("coco")
