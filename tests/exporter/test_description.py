"""The TOML file on a model of the user's own."""

from pathlib import Path

import pytest

from evaluator.contracts import Preprocessing
from evaluator.errors import InputError
from evaluator.exporter.description import Description, read_description

PREPROCESSING = """
[preprocessing]
resize_px = 256
crop_px = 224
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


def described(folder: Path, text: str) -> Description:
    path = folder / "model.toml"
    path.write_text(text)
    return read_description(path)


def test_every_key_is_read(tmp_path: Path) -> None:
    top = """
    name = "my-model"
    input = "normalized"
    layout = "nhwc"
    output = "logits"
    trained = true
    classes = "lists/classes.txt"
    licence = "MIT"
    source = "https://example.org"
    """
    description = described(tmp_path, top + PREPROCESSING)
    assert description.name == "my-model"
    assert (description.input, description.layout) == ("normalized", "nhwc")
    assert (description.output, description.trained) == ("logits", True)
    assert (description.licence, description.source) == ("MIT", "https://example.org")
    assert description.classes_path == tmp_path / "lists" / "classes.txt"
    assert description.full_preprocessing() == Preprocessing(
        256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )


def test_preprocessing_alone_is_enough(tmp_path: Path) -> None:
    description = described(tmp_path, PREPROCESSING)
    assert (description.name, description.classes_path, description.trained) == (None, None, False)


@pytest.mark.parametrize(("takes", "std"), [("images", 1.0), ("pixels", 1 / 255)])
def test_a_graph_that_normalises_by_itself_is_fed_plain_numbers(
    takes: str, std: float, tmp_path: Path
) -> None:
    text = f'input = "{takes}"\n' + PREPROCESSING.partition("mean")[0]
    preprocessing = described(tmp_path, text).full_preprocessing()
    assert (preprocessing.mean, preprocessing.std) == ((0.0,) * 3, (std,) * 3)
    twice = described(tmp_path, f'input = "{takes}"\n' + PREPROCESSING)
    with pytest.raises(InputError, match=f"takes {takes} normalises by itself: omit mean"):
        twice.full_preprocessing()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("resize_px", "resize", r"unknown key preprocessing\.resize\. Did you mean .*resize_px\?"),
        ("[prep", "clases = 'c.txt'\n[prep", r"unknown key clases\. Did you mean classes\?"),
        ("[prep", "zebra = 1\n[prep", r"unknown key zebra\. Expected preprocessing, name, input"),
        ("[prep", "path = 'x'\n[prep", r"unknown key path\. "),
        ("[preprocessing]", "", r"the key crop_px must stand below \[preprocessing\]"),
        ("crop_px", "channels = 'bgr'\ncrop_px", r"channels must stand above \[preprocessing\]"),
        ("crop_px = 224", "", r"preprocessing\.crop_px: Field required"),
        ("224", '"224"', r"preprocessing\.crop_px: Input should be a valid integer"),
        ("224", "224.5", r"preprocessing\.crop_px: Input should be a valid integer"),
        ("224", "257", r"crop of 257 px does not fit into a short side of 256 px"),
        ("224", "16", r"a crop of 16 px is not possible; expected 32 to 1024"),
        ('"bilinear"', '"area"', r"preprocessing\.interpolation: Input should be 'bilinear' or"),
        ("0.485", "123.675", r"mean and std must be in \[0, 1\] units: .* divide values"),
        ("0.229", "0", r"a std above 0"),
        ("0.229", "nan", r"model.toml: preprocessing\.std\.0|std above 0"),
        ("0.485,", "", r"preprocessing\.mean\.2: Field required"),
        ("mean = [0.485, 0.456, 0.406]", "", r"preprocessing needs mean and std"),
        ("[prep", 'name = "a/b"\n[prep', r"the name 'a/b' cannot be used for a folder"),
        ("[prep", 'input = "bgr"\n[prep', r"input: Input should be 'normalized', 'images' or"),
        ("[prep", "trained = 1\n[prep", r"trained: Input should be a valid boolean"),
        ("crop_px = 224", "crop_px = ", r"model\.toml is not a TOML file: "),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        described(tmp_path, PREPROCESSING.replace(old, new, 1)).full_preprocessing()
    assert str(caught.value).isprintable()
    assert "model.toml" in str(caught.value)


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_description(tmp_path / "nowhere.toml")
    (tmp_path / "model.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not a TOML file"):
        read_description(tmp_path / "model.toml")
