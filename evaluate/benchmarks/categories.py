"""The 16 categories of the cue-conflict stimuli, and the ImageNet classes in each.

Categories are in alphabetical order, which decides ties. Source: rgeirhos/texture-vs-shape,
``code/helper/human_categories.py``: indices among the 1000 classes, 207 in all.
"""

from collections.abc import Iterator, Mapping

_INDICES = {
    "airplane": "404",
    "bear": "294-297",
    "bicycle": "444 671",
    "bird": "8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145",
    "boat": "472 554 625 814 914",
    "bottle": "440 720 737 898-899 901 907",
    "car": "436 511 817",
    "cat": "281-286",
    "chair": "423 559 765 857",
    "clock": "409 530 892",
    "dog": "152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268",
    "elephant": "385-386",
    "keyboard": "508 878",
    "knife": "499",
    "oven": "766",
    "truck": "555 569 656 675 717 734 864 867",
}


def _indices(ranges: str) -> Iterator[int]:
    for part in ranges.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


CATEGORIES: Mapping[str, tuple[int, ...]] = {
    name: tuple(_indices(ranges)) for name, ranges in _INDICES.items()
}
"""The class indices of each category."""
