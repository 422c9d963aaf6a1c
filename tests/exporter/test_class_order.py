"""What the outputs of a model mean: class files, and logits gathered by them."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluator.contracts import ClassOrder, ModelSpec
from evaluator.errors import InputError
from evaluator.evaluate.classes import class_index, class_names, wnids
from evaluator.exporter.class_order import in_imagenet_order, output_count, read_class_order
from evaluator.exporter.spec import identity, model_spec


def class_file(folder: Path, lines: list[str]) -> Path:
    path = folder / "classes.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def shuffled() -> list[int]:
    order = list(range(1000))
    random.Random(3).shuffle(order)
    return order


def outputs_of(path: Path) -> tuple[int, ...]:
    order = read_class_order(path, class_index())
    assert order is not None
    return order.outputs


@pytest.fixture
def spec() -> ModelSpec:
    return model_spec("resnet50", weights="random", crop_px=32)


class Counting(nn.Module):
    """Output k of image i is k + i."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(images), dtype=torch.float32)
        return torch.arange(self.outputs, dtype=torch.float32) + rows[:, None]


def test_indices_and_wnids_mean_the_same(tmp_path: Path) -> None:
    order = shuffled()
    indices = outputs_of(class_file(tmp_path, [str(index) for index in order]))
    names = outputs_of(class_file(tmp_path, [wnids()[index] for index in order]))
    assert indices == names == tuple(order)


def test_outputs_of_no_class_and_remarks_are_taken(tmp_path: Path) -> None:
    lines = ["-\tbackground", *(f"{index}\tremark" for index in range(1000)), "", "  "]
    assert outputs_of(class_file(tmp_path, lines)) == (-1, *range(1000), -1, -1)


def test_the_file_of_imagenets_own_order_is_no_other_order(tmp_path: Path) -> None:
    path = class_file(tmp_path, [f"{wnid}\r" for wnid in wnids()])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as an editor on Windows writes it
    assert read_class_order(path, class_index()) is None


FORMS = {
    "tab": "{wnid}\t{words}",
    "space": "{wnid} {words}",
    "comma": "{wnid}, {words}",
    "csv": "{wnid},{words}",
    "quotes": '"{wnid}","{words}"',
    "semicolon": "{wnid};{words}",
    "index and words": "{index} {words}",
    "index, id and words": "{index} {wnid} {words}",
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_words_after_a_class_are_a_remark(tmp_path: Path, form: str, end: str) -> None:
    order = shuffled()
    classes = list(zip(wnids(), class_names(), strict=True))
    lines = [
        form.format(wnid=classes[i][0], words=f"{classes[i][1]}, other words", index=i)
        for i in order
    ]
    path = tmp_path / "synset.txt"
    path.write_text("".join(line + end for line in ["- background", *lines]), newline="")
    assert outputs_of(path) == (-1, *order)


def test_the_synsets_in_imagenets_order_are_no_other_order(tmp_path: Path) -> None:
    lines = [f"{wnid} {name}" for wnid, name in zip(wnids(), class_names(), strict=True)]
    assert read_class_order(class_file(tmp_path, lines), class_index()) is None


def test_numbers_from_one_beside_wnids_are_refused(tmp_path: Path) -> None:
    lines = [f"{number} {wnid}" for number, wnid in enumerate(wnids(), 1)]
    with pytest.raises(InputError, match=r"line 1: n01440764 is the class 0, not 1\. Expected"):
        read_class_order(class_file(tmp_path, lines), class_index())


@pytest.mark.parametrize("first", ["background", "class name", "0: n01440764"])
def test_a_line_without_a_class_is_never_a_header(tmp_path: Path, first: str) -> None:
    with pytest.raises(InputError, match=f"line 1: '{first}' is neither .*`-` for a class"):
        read_class_order(class_file(tmp_path, [first, *wnids()]), class_index())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: "wnid"}, r"line 1: 'wnid' is neither a WordNet id nor a class index"),
        ({4: "1000"}, r"line 5: '1000' is neither a WordNet id"),
        ({4: "-1"}, r"line 5: '-1' is neither a WordNet id"),
        ({4: "n01440764"}, r"line 5: the class n01440764 is already on line 1\. "),
        ({4: "-", 7: ""}, r"has 998 of ImageNet's 1000 classes: 2 are missing, first n01494475"),
    ],
)
def test_a_file_that_maps_not_each_class_once_is_refused(
    change: dict[int, str], message: str, tmp_path: Path
) -> None:
    lines = [str(index) for index in range(1000)]
    for position, line in change.items():
        lines[position] = line
    with pytest.raises(InputError, match=message) as caught:
        read_class_order(class_file(tmp_path, lines), class_index())
    assert str(caught.value).isprintable()


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_class_order(path, class_index())
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_class_order(path, class_index())


def test_each_class_is_read_from_its_output() -> None:
    assert ClassOrder((-1, 1, 2, -1, 0)).indices == (4, 1, 2)


def test_the_logits_of_a_network_come_out_in_imagenets_order(spec: ModelSpec) -> None:
    order = shuffled()
    mapped = replace(spec, class_order=ClassOrder((-1, *order)))
    network = in_imagenet_order(Counting(1001), mapped)
    logits = network(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 1000)
    # Class order[k] is output k + 1, whose logit is k + 1 for the first image.
    assert logits[:, order].tolist() == [list(range(1, 1001)), list(range(2, 1002))]


def test_a_network_in_imagenets_order_is_left_alone(spec: ModelSpec) -> None:
    network = Counting(1000)
    assert in_imagenet_order(network, spec) is network


def test_another_number_of_outputs_than_lines_is_refused(spec: ModelSpec) -> None:
    mapped = replace(spec, class_order=ClassOrder((-1, *range(1000)), "/mine/classes.txt"))
    with pytest.raises(
        InputError, match=r"1,008 logits, but /mine/classes.txt has 1,001 lines\. Expected one line"
    ):
        in_imagenet_order(Counting(1008), mapped)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda images: {"logits": images}, r"gives dict for one image, expected logits"),
        (lambda images: images, r"gives \[1, 3, 32, 32\] for one image"),
        (lambda images: images.reshape(3, 5), r"does not run on images of 32 px: "),
    ],
)
def test_what_gives_no_logits_is_refused(output: object, message: str, spec: ModelSpec) -> None:
    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> object:
            return output(images)  # type: ignore[operator]

    with pytest.raises(InputError, match=message):
        output_count(Odd(), spec)


def test_the_order_is_part_of_the_identity_and_its_path_is_not(spec: ModelSpec) -> None:
    here = replace(spec, class_order=ClassOrder((1, 0), "/here"))
    there = replace(spec, class_order=ClassOrder((1, 0), "/there"))
    other = replace(spec, class_order=ClassOrder((0, -1, 1), "/here"))
    assert identity(here) == identity(there) != identity(other)
    assert identity(spec) not in (identity(here), identity(other))
