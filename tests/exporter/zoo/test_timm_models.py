"""Networks of timm: their preprocessing, their weights, and their bundles."""

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

import evaluator
from evaluator.contracts import ClassOrder, Preprocessing
from evaluator.errors import EvaluatorError, InputError, UnavailableError
from evaluator.evaluate.decode import photo_pixels
from evaluator.exporter.graph.batchnorm import fold_batchnorm
from evaluator.exporter.graph.cost import model_gmac
from evaluator.exporter.graph.deployable import scale_and_bias
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.rows import Download, NotPublished
from evaluator.exporter.zoo.table import find_model
from evaluator.storage import fetch as fetching
from evaluator.tests.file_server import FileServer, file_server

VIT = "timm:vit_tiny_patch16_224"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """A hub on this machine, and a cache that nobody else uses."""
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 0.001)
    with file_server() as running:
        running.hub = True
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.port}")
        yield running


def trained(name: str, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        network: nn.Module = timm.create_model(name, pretrained=False, **options).eval()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.05)
    return network


# --------------------------------------------------------------------------------- preprocessing


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet10t", (201, 176, "bicubic")),  # 176 / 0.875 = 201.1
        ("mobilenetv3_small_050", (256, 224, "bicubic")),
        ("vit_tiny_patch16_224", (248, 224, "bicubic")),  # 224 / 0.9 = 248.9
        ("tinynet_e", (121, 106, "bicubic")),  # 106 / 0.875 = 121.1
        ("dla46_c", (256, 224, "bilinear")),
    ],
)
def test_images_are_prepared_as_timm_evaluates(
    name: str, expected: tuple[int, int, str], photos: Path
) -> None:
    preprocessing = find_model(f"timm:{name}").preprocessing
    assert (
        preprocessing.resize_px, preprocessing.crop_px, preprocessing.interpolation
    ) == expected  # fmt: skip
    resolve: Any = resolve_model_data_config
    config = resolve(timm.create_model(name, pretrained=False))
    transform = create_transform(**config, is_training=False)
    scale, bias = scale_and_bias(preprocessing)
    for photo in sorted(photos.rglob("*.JPEG"))[:3]:
        pixels = photo_pixels(photo.read_bytes(), str(photo), preprocessing)
        found = pixels.astype(np.float32).transpose(2, 0, 1) * scale.reshape(3, 1, 1)
        expected_images = transform(Image.open(photo).convert("RGB")).numpy()
        np.testing.assert_allclose(found + bias.reshape(3, 1, 1), expected_images, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coat_lite_medium_384", r"without a crop from the centre \(timm's crop mode 'squash'\)"),
        ("vit_base_patch16_sapiens2", r"takes 3 x 1024 x 768, expected 3 x S x S"),
        ("volo_d4_448", r"A crop of 448 px does not fit into a short side of 389 px"),
        ("resnet10", r"timm has no model 'resnet10'\. Did you mean timm:resnet10t or"),
        ("", r"timm has no model ''\. "),
        ("resnet10t.mine", r"timm has no weights 'resnet10t\.mine'\. Expected resnet10t\.c3_in1k"),
        ("hf-hub:somebody/model", r"timm has no model 'hf-hub:somebody/model'"),
        ("samvit_base_patch16", r"gives 0 logits.* It needs one output for each class"),
        ("mixer_b16_224.goog_in21k", r"gives 21,843 logits.* with --classes FILE"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        model_spec(f"timm:{name}", weights="random")
    assert str(caught.value).isprintable()


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnavailableError, match=r"Install it with `pip install 'evaluator\[timm\]'"):
        model_spec("timm:resnet10t", weights="random")


def test_a_model_is_named_with_its_tag() -> None:
    spec = model_spec("timm:resnet10t", weights="random")
    assert spec == model_spec("timm:resnet10t.c3_in1k", weights="random")
    assert (spec.name, spec.architecture) == ("timm:resnet10t.c3_in1k", "timm:resnet10t")
    assert (spec.licence, spec.trained_crop_px) == ("apache-2.0", 176)
    assert spec.source == "https://github.com/huggingface/pytorch-image-models"


def test_more_classes_are_taken_with_a_class_file() -> None:
    order = ClassOrder((*range(1000), *(-1,) * 20843))
    spec = model_spec("timm:mixer_b16_224.goog_in21k", weights="random", class_order=order)
    assert spec.class_order == order
    with pytest.raises(InputError, match=r"gives 21,843 logits, but .* has 21,842 lines"):
        model_spec(
            "timm:mixer_b16_224.goog_in21k", weights="random",
            class_order=replace(order, outputs=order.outputs[:-1]),
        )  # fmt: skip


# --------------------------------------------------------------------------------------- weights


def test_weights_come_from_where_their_hash_is_known_best() -> None:
    hashed = find_model("timm:resnet10t").weights
    assert isinstance(hashed, Download)
    assert hashed.sha256_prefix == "f3215ab1"
    hub = "https://huggingface.co/timm"
    # Of their own addresses one has no hash, the other is in a format of JAX.
    assert find_model("timm:convnext_tiny.fb_in1k").weights == Download(
        f"{hub}/convnext_tiny.fb_in1k/resolve/main/model.safetensors"
    )
    assert find_model("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k").weights == Download(
        f"{hub}/vit_tiny_patch16_224.augreg_in21k_ft_in1k/resolve/main/model.safetensors"
    )
    assert isinstance(find_model("timm:vovnet57a").weights, NotPublished)
    with pytest.raises(UnavailableError, match=r"nobody published any.*--weights FILE"):
        model_spec("timm:vovnet57a")


def test_weights_of_the_hub_are_pinned_fetched_renamed_by_timm_and_loaded(
    server: FileServer, tmp_path: Path
) -> None:
    network = trained("vit_tiny_patch16_224")
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    # As older checkpoints have it; timm's own filter gives it its shape.
    tensors["patch_embed.proj.weight"] = tensors["patch_embed.proj.weight"].flatten(1)
    content = save(tensors)
    server.files["model.safetensors"] = content
    spec = model_spec(VIT)
    assert (spec.weights.kind, len(spec.weights.sha256)) == ("download", 64)
    assert server.heads == [
        "/timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k/resolve/main/model.safetensors"
    ]
    assert server.asked == []
    loaded = load_network(spec)
    assert server.asked == ["whole"]
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(images), network(images))
    # The second time nothing is asked for, and another file in the same place is not taken.
    assert load_network(model_spec(VIT)).weights_sha256 == loaded.weights_sha256
    assert (len(server.heads), len(server.asked)) == (1, 1)
    (kept,) = (tmp_path / "cache" / "weights").glob("*.safetensors")
    kept.write_bytes(content[:-1] + b"!")
    with pytest.raises(InputError, match="is damaged"):
        load_network(model_spec(VIT))


def test_a_transformer_takes_another_crop_with_published_weights(server: FileServer) -> None:
    server.files["model.safetensors"] = save(trained("vit_tiny_patch16_224").state_dict())
    loaded = load_network(model_spec(VIT, crop_px=160))
    assert loaded.network.pos_embed.shape == (1, 1 + 10 * 10, 192)
    with torch.inference_mode():
        assert loaded.network(torch.zeros(1, 3, 160, 160)).shape == (1, 1000)


def test_weights_that_do_not_fit_are_refused_in_one_line(server: FileServer) -> None:
    server.files["model.safetensors"] = save({"stem.weight": torch.zeros(3)})
    with pytest.raises(EvaluatorError, match="timm cannot load the published weights") as caught:
        load_network(model_spec(VIT))
    assert str(caught.value).isprintable()


def test_weights_at_an_address_with_a_hash_are_fetched_from_there(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timm.models import _registry

    server.hub = False
    network, file = trained("resnet10t"), io.BytesIO()
    torch.save(network.state_dict(), file)
    url = server.url(server.put("resnet10t_176_c3", file.getvalue()))
    for name in ("resnet10t", "resnet10t.c3_in1k"):
        config = replace(_registry._model_pretrained_cfgs[name], url=url)
        monkeypatch.setitem(_registry._model_pretrained_cfgs, name, config)
    spec = model_spec("timm:resnet10t")
    assert (spec.weights.reference, server.heads) == (url, [])
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(load_network(spec).network(images), network(images))


def test_a_users_checkpoint_is_loaded(tmp_path: Path) -> None:
    network = trained("resnet10t")
    torch.save({"state_dict_ema": network.state_dict()}, tmp_path / "mine.pth")
    loaded = load_network(model_spec("timm:resnet10t", weights=str(tmp_path / "mine.pth")))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(images), network(images))


# ------------------------------------------------------------------------------------- the graph


def test_a_normalisation_with_an_activation_inside_keeps_it_when_folded() -> None:
    network = load_network(model_spec("timm:mobilenetv3_small_050", weights="random")).network
    assert any(type(module).__name__ == "BatchNormAct2d" for module in network.modules())
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network(images)
        fold_batchnorm(network, images[:1])
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)


def test_a_normalisation_that_does_what_nobody_knows_stays_as_it_is() -> None:
    class Doubling(nn.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Doubling(4)).eval()
    images = torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        expected = network(images)
        fold_batchnorm(network, images[:1])
        assert torch.equal(network(images), expected)
    assert isinstance(network[1], Doubling)


@pytest.mark.parametrize(
    ("name", "crop_px"),
    [("resnet10t", 64), pytest.param("mobilenetv3_small_050", 96, marks=pytest.mark.slow)],
)
def test_a_bundle_of_timm_agrees_with_pytorch(name: str, crop_px: int, tmp_path: Path) -> None:
    exported = evaluator.export_model(
        f"timm:{name}", weights="random", crop_px=crop_px, out=tmp_path / "bundle"
    )
    assert exported.parity.passed
    assert exported.parity.n == 100
    assert exported.bundle.model.spec.name.startswith(f"timm:{name}.")


def test_what_a_model_computes_is_counted_without_weights() -> None:
    # 0.70 GMAC at 176 px on the model's page.
    spec = model_spec("timm:resnet10t", weights="random")
    assert model_gmac(spec) == pytest.approx(0.70, abs=0.005)


def test_the_preprocessing_is_that_of_the_tag() -> None:
    mean = (0.5, 0.5, 0.5)
    vit = find_model("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k").preprocessing
    assert vit == Preprocessing(248, 224, "bicubic", mean, mean)
