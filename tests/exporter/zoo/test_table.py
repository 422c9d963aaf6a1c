"""The table of models, counted again and held against torchvision's own."""

import json
import math
import re
import sys
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import pytest
import timm
import torch
import torchvision.models
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from timm.models import get_deprecated_models
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, resize

from evaluator.errors import InputError
from evaluator.evaluate.classes import class_index
from evaluator.exporter.graph.onnx_export import write_onnx
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.rows import Download, PackageFile, ZooModel
from evaluator.exporter.zoo.table import MODELS, find_model
from evaluator.exporter.zoo.timm_names import timm_name

CLASSIFIERS = torchvision.models.list_models(module=torchvision.models)

# facts/models-and-data.md
WSL_FILES = {
    "resnext101_32x8d_wsl": "ig_resnext101_32x8-c38310e5.pth",
    "resnext101_32x16d_wsl": "ig_resnext101_32x16-c6f796b0.pth",
    "resnext101_32x32d_wsl": "ig_resnext101_32x32-e4b90b00.pth",
    "resnext101_32x48d_wsl": "ig_resnext101_32x48-3e41cc8a.pth",
}
TORCHVISION_V1 = {
    "resnext101_32x8d": torchvision.models.ResNeXt101_32X8D_Weights.IMAGENET1K_V1,
    "resnext50_32x4d": torchvision.models.ResNeXt50_32X4D_Weights.IMAGENET1K_V1,
    "alexnet": torchvision.models.AlexNet_Weights.IMAGENET1K_V1,
    "resnet50": torchvision.models.ResNet50_Weights.IMAGENET1K_V1,
}

# Short side and crop: the resolutions of efficientnet_lite_builder.py, and 32 px more.
LITE = {
    "efficientnet_lite0": (256, 224),
    "efficientnet_lite1": (272, 240),
    "efficientnet_lite2": (292, 260),
}


def url_of(model: ZooModel) -> str:
    assert isinstance(model.weights, Download)
    return model.weights.url


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_gmac_of_the_table_are_what_torch_counts(name: str) -> None:
    model = MODELS[name]
    side = model.preprocessing.crop_px
    with torch.device("meta"):
        network = model.build(side).eval()
        images = torch.zeros(1, 3, side, side)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        logits = network(images)
    # torch counts a multiply-accumulate as two operations.
    assert model.gmac == round(counter.get_total_flops() / 2e9, 3)
    assert model.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert logits.shape == (1, 1000)


def test_the_table_holds_the_models_of_the_paper_and_some_that_need_no_download() -> None:
    assert set(MODELS) == {*WSL_FILES, *TORCHVISION_V1, *LITE}
    assert all(model.name == name for name, model in MODELS.items())


@pytest.mark.parametrize("name", WSL_FILES)
def test_wsl_weights_are_the_files_of_the_hub(name: str) -> None:
    model = MODELS[name]
    assert url_of(model) == f"https://download.pytorch.org/models/{WSL_FILES[name]}"
    assert isinstance(model.weights, Download)
    assert model.weights.sha256_prefix == WSL_FILES[name][-12:-4]
    assert model.licence == "CC-BY-NC-4.0"


def test_wsl_networks_differ_in_width_alone() -> None:
    for name in WSL_FILES:
        with torch.device("meta"):
            network = MODELS[name].build(224)
        width = int(name.split("x")[-1].removesuffix("d_wsl"))
        assert isinstance(network, torchvision.models.ResNet)
        assert (network.groups, network.base_width) == (32, width)
        assert [len(layer) for layer in (network.layer1, network.layer2)] == [3, 4]
        assert [len(layer) for layer in (network.layer3, network.layer4)] == [23, 3]


@pytest.mark.parametrize("name", TORCHVISION_V1)
def test_torchvision_rows_are_its_first_imagenet_weights(name: str) -> None:
    model, enum = MODELS[name], TORCHVISION_V1[name]
    transforms, ours = enum.transforms(), model.preprocessing
    assert url_of(model) == enum.url
    assert model.parameters == enum.meta["num_params"]
    assert model.gmac == enum.meta["_ops"]
    assert [ours.resize_px] == transforms.resize_size
    assert [ours.crop_px] == transforms.crop_size
    assert ours.interpolation == transforms.interpolation.value
    assert list(ours.mean) == transforms.mean
    assert list(ours.std) == transforms.std


@pytest.mark.parametrize("name", LITE)
def test_efficientnet_lite_takes_the_inputs_of_its_training(name: str) -> None:
    # (x - 127) / 128 on [0, 255], so that 127 is 0, 255 is 1 and -1 is out of reach.
    ours = MODELS[name].preprocessing
    for value, expected in ((127, 0), (255, 1), (0, -127 / 128)):
        normalised = (value / 255 - np.array(ours.mean)) / np.array(ours.std)
        np.testing.assert_allclose(normalised, expected, atol=1e-15)
    assert ours.interpolation == "bicubic"
    assert (ours.resize_px, ours.crop_px) == LITE[name]


@pytest.mark.parametrize(
    ("name", "crop_pct"),
    [("efficientnet_lite0", 0.875), ("efficientnet_lite1", 0.882), ("efficientnet_lite2", 0.890)],
)
def test_efficientnet_lite_is_resized_as_timm_resizes_it(name: str, crop_pct: float) -> None:
    # timm 1.0.31, crop_pct of tf_efficientnet_lite0..2; it rounds down.
    resize_px, crop_px = LITE[name]
    assert math.floor(crop_px / crop_pct) == resize_px


@pytest.mark.parametrize(  # the first is scored in test_cli.py
    "name",
    ["efficientnet_lite1", pytest.param("efficientnet_lite2", marks=pytest.mark.slow)],
)
def test_real_weights_get_most_labelled_photos_right(name: str, photos: Path) -> None:
    loaded = load_network(model_spec(name))
    preprocessing = loaded.spec.preprocessing
    files = sorted(photos.rglob("*.JPEG"))
    pixels = []
    for file in files:
        image = Image.open(file).convert("RGB")
        image = resize(image, [preprocessing.resize_px], InterpolationMode.BICUBIC)
        pixels.append(np.array(center_crop(image, [preprocessing.crop_px]), np.float32))
    images = torch.from_numpy((np.stack(pixels) - 127) / 128).permute(0, 3, 1, 2)
    with torch.inference_mode():
        predicted = loaded.network(images).argmax(1).tolist()
    labels = [class_index()[file.parent.name] for file in files]
    right = sum(found == label for found, label in zip(predicted, labels, strict=True))
    assert right == 18  # of 20, as measured


def dynamic(name: str, network: nn.Module) -> nn.Module:
    """The same weights in a network that pads for whatever image it is given."""
    other = EfficientNet.from_name(name.replace("_", "-"), image_size=None).eval()
    other.load_state_dict(network.state_dict())
    return cast(nn.Module, other)


def relative_error(logits: torch.Tensor, expected: torch.Tensor) -> float:
    return float((logits - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("efficientnet_lite0", 192),
        ("efficientnet_lite0", 225),
        ("efficientnet_lite1", 224),
        ("efficientnet_lite2", 224),
    ],
)
def test_efficientnet_lite_pads_for_the_crop_that_it_is_built_for(name: str, side: int) -> None:
    network = load_network(model_spec(name, crop_px=side)).network
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = dynamic(name, network)(images)
        assert relative_error(network(images), expected) < 1e-6
        # It would matter: padded for its own crop, the same weights say something else.
        own = MODELS[name].build(MODELS[name].preprocessing.crop_px).eval()
        own.load_state_dict(network.state_dict())
        if side != 192:  # the paddings of 224 and 192 are the same
            assert relative_error(own(images), expected) > 1e-3


@pytest.mark.slow
def test_efficientnet_lite1_at_another_crop_says_the_same_as_onnx(tmp_path: Path) -> None:
    loaded = load_network(model_spec("efficientnet_lite1", crop_px=224))
    assert loaded.spec.preprocessing.resize_px == 254  # 272 * 224 / 240 = 253.87
    expecting = dynamic("efficientnet_lite1", loaded.network)
    write_onnx(loaded, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    (logits,) = session.run(None, {"pixels": pixels})
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = expecting(images)
    assert relative_error(torch.from_numpy(logits), expected) < 1e-4


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet51", "resnet50"),
        ("ResNet50", "resnet50"),
        ("resnet18", "torchvision:resnet18"),
        ("vit_b16", "torchvision:vit_b_16"),
        ("resnext101_32x48d", "resnext101_32x48d_wsl"),
        ("efficientnet-lite0", "efficientnet_lite0"),
        ("torchvision:resnet180", "torchvision:resnet18"),
        ("torchvision:vit-b-16", "torchvision:vit_b_16"),
    ],
)
def test_a_wrong_name_is_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        find_model(name)
    assert repr(name.removeprefix("torchvision:")) in str(caught.value)
    (named,) = re.findall(r"Did you mean (.+?)\?", str(caught.value))
    assert near in named.split(" or ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RESNET50", "resnet50"),
        ("resnext101_32x8d_WSL", "resnext101_32x8d_wsl"),
        ("Efficientnet_Lite0", "efficientnet_lite0"),
        ("ViT_B_16", "torchvision:vit_b_16"),
        ("torchvision:ResNet18", "torchvision:resnet18"),
        ("timm:ResNet10t.C3_in1k", "timm:resnet10t.c3_in1k"),
        ("resnet50.a1_in1k", "timm:resnet50.a1_in1k"),
        ("convnext_atto", "timm:convnext_atto"),
        ("VGG16", "torchvision:vgg16"),
        ("ResNet-50", "resnet50"),
        ("torchvision:resnet_50", "torchvision:resnet50"),
        ("efficientnet-lite0", "efficientnet_lite0"),
        ("timm:resnext101_32x16d_wsl", "resnext101_32x16d_wsl"),
    ],
)
def test_capitals_and_separators_do_not_count_and_the_name_that_is_meant_is_the_only_one(
    name: str, meant: str
) -> None:
    with pytest.raises(InputError, match=rf"Did you mean {re.escape(meant)}\?"):
        find_model(name)


WSL = {8: "8d", 16: "16d", 32: "32d", 48: "48d"}


@pytest.mark.parametrize("width", WSL)
@pytest.mark.parametrize("prefix", ["", "timm:", "torchvision:"])
def test_timms_former_names_of_the_wsl_models_lead_to_their_own_width(
    prefix: str, width: int
) -> None:
    with pytest.raises(InputError) as caught:
        find_model(f"{prefix}ig_resnext101_32x{width}d")
    named = re.findall(r"\S*resnext101_32x\d+d\S*", str(caught.value).partition("Did")[2])
    expected = [f"resnext101_32x{width}d_wsl"]
    if width != 48:  # timm has none of that width
        expected.append(f"timm:resnext101_32x{width}d.fb_wsl_ig1b_ft_in1k")
    assert [name.strip("?,") for name in named] == expected


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("swsl_resnet50", "resnet50.fb_swsl_ig1b_ft_in1k"),
        ("tv_resnet50", "resnet50.tv_in1k"),
        ("tf_efficientnet_b0_ns", "tf_efficientnet_b0.ns_jft_in1k"),
        ("convnext_tiny_in22ft1k", "convnext_tiny.fb_in22k_ft_in1k"),
        ("gluon_resnet50_v1c", "resnet50c.gluon_in1k"),
        ("xception", "legacy_xception"),
        # timm's table leads from these to other weights, or to none.
        ("resmlp_12_224_dino", "resmlp_12_224.fb_dino"),
        ("mixer_b16_224_in21k", "mixer_b16_224.goog_in21k"),
        ("vit_base_patch32_224_sam", "vit_base_patch32_224.sam_in1k"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "timm:"])
def test_timms_former_names_lead_to_the_same_weights(prefix: str, name: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"Did you mean timm:{re.escape(meant)}\?"):
        find_model(prefix + name)


def test_every_former_name_of_timm_leads_to_its_width_and_to_weights_that_timm_has() -> None:
    known = {*timm.list_pretrained(), *timm.list_models()}
    table = list(get_deprecated_models().items())
    table.sort(key=lambda names: "32x" not in names[0])
    for name, present in (*table[:20], *table[20::8]):
        found = timm_name(name)
        assert found in known or (found is None and "48d" in name)
        if found != present:
            assert re.search("32x|dino|sam|mixer", name)


@pytest.mark.parametrize(
    ("name", "never"),
    [
        ("resnext101_32x8d_wls", "resnext101_32x8d"),
        ("swsl_resnet51", "resnet50"),
        ("resnet50_v2", "resnet50"),
        ("timm:resnext101_32x8d_wsl", "timm:resnext101_32x8d"),
        ("timm:resnet50_swag", "timm:resnet50"),
    ],
)
def test_a_hint_never_leads_to_other_weights(name: str, never: str) -> None:
    with pytest.raises(InputError) as caught:
        find_model(name)
    named = str(caught.value).partition("Did you mean ")[2].partition("?")[0].split(" or ")
    assert never not in named


def test_hints_need_no_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"Did you mean resnext101_32x8d_wsl\?"):
        find_model("timm:ig_resnext101_32x8d")
    with pytest.raises(InputError) as caught:
        find_model("swsl_resnet50")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "zzz", "torchvision:", "torchvision:zzz"])
def test_a_name_like_nothing_is_told_what_to_do(name: str) -> None:
    with pytest.raises(InputError) as caught:
        find_model(name)
    assert "evaluator models" in str(caught.value) or "Did you mean" in str(caught.value)
    assert str(caught.value) == str(caught.value).strip()


def test_a_row_of_the_zoo_is_preferred_to_torchvisions_model_of_that_name() -> None:
    assert url_of(find_model("resnet50")).endswith("resnet50-0676ba61.pth")
    assert url_of(find_model("torchvision:resnet50")).endswith("resnet50-11ad3fa6.pth")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_of_torchvision_has_a_usable_preprocessing(name: str) -> None:
    model = find_model(f"torchvision:{name}")
    ours = model.preprocessing
    assert 0 < ours.crop_px <= ours.resize_px
    assert ours.interpolation in ("bilinear", "bicubic")
    assert len(ours.mean) == len(ours.std) == 3
    assert all(0 <= mean <= 1 for mean in ours.mean)
    assert all(0 < std <= 1 for std in ours.std)
    assert isinstance(model.weights, Download)
    assert re.fullmatch(r"[0-9a-f]{8,}", model.weights.sha256_prefix)
    assert model.weights.label == url_of(model).rsplit("/", 1)[1]


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v3_small", "swin_t", "vit_b_16"])
def test_a_torchvision_model_is_the_network_of_its_name(name: str) -> None:
    model = find_model(f"torchvision:{name}")
    with torch.device("meta"):
        network = model.build(model.preprocessing.crop_px)
    assert model.architecture == name
    assert model.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_googles_networks_rescale_their_inputs_as_their_weights_want() -> None:
    for name in ("googlenet", "inception_v3"):
        with torch.device("meta"):
            network = find_model(f"torchvision:{name}").build(299)
        assert vars(network)["transform_input"] is True


@pytest.mark.parametrize("name", [*MODELS, "torchvision:resnet18"])
def test_a_row_can_be_written_as_json(name: str) -> None:
    model = find_model(name)
    document = json.loads(json.dumps(model.document()))
    assert document["name"] == name
    assert document["preprocessing"]["crop_px"] == model.preprocessing.crop_px
    assert document["weights"]["url" if isinstance(model.weights, Download) else "distribution"]


@pytest.mark.parametrize("name", LITE)
def test_package_weights_are_pinned_by_the_whole_hash(name: str) -> None:
    weights = MODELS[name].weights
    assert isinstance(weights, PackageFile)
    assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
    assert weights.path.endswith(f"-{weights.sha256[:8]}.pth")
