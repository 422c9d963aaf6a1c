"""Networks of timm: ``timm:NAME``, with the preprocessing of timm's own pretrained configuration.

timm is an optional package, imported when one of its models is used. Its weights are read here as
data, and their hash is checked; timm only renames the tensors.
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...contracts import Preprocessing, PublishedSizes
from ...errors import InputError, UnavailableError, did_you_mean, reported_as
from .rows import SEE_WEIGHTS_PAGE, Download, NotPublished, PublishedWeights, ZooModel
from .timm_names import of_same_weights, timm_name

if TYPE_CHECKING:
    import torch
    from torch import nn

TIMM = "timm:"

_HUB = "https://huggingface.co"
_INTERPOLATIONS = ("bilinear", "bicubic")


def timm_model(name: str) -> ZooModel:
    """The model that timm describes.

    Raises:
        InputError: If timm has no such model, or its preprocessing is not supported.
        UnavailableError: If timm is not installed.
    """
    config = _config(name)
    full_name = f"{config.architecture}.{config.tag}" if config.tag else config.architecture
    preprocessing, weights = _preprocessing(TIMM + full_name, config), _weights(config)
    prefix = weights.sha256_prefix if isinstance(weights, Download) else ""
    return ZooModel(
        name=TIMM + full_name,
        architecture=TIMM + config.architecture,
        build=partial(_build, full_name),
        weights=weights,
        preprocessing=preprocessing,
        parameters=0,
        gmac=0,
        source=config.origin_url or f"{_HUB}/{config.hf_hub_id}",
        licence=config.license or SEE_WEIGHTS_PAGE,
        outputs=config.num_classes,
        published=(PublishedWeights(f"timm's {full_name}", prefix, preprocessing),),
    )


def timm_tensors(name: str, crop_px: int, tensors: "dict[str, Any]") -> "dict[str, torch.Tensor]":
    """Published weights under the names and in the shapes of timm's network.

    Raises:
        InputError: If timm cannot load them into its network.
    """
    overlay = {"state_dict": tensors}
    with reported_as(f"timm cannot load the published weights into {name}"):
        network = _build(name, crop_px, pretrained=True, pretrained_cfg_overlay=overlay)
    state: dict[str, torch.Tensor] = network.state_dict()
    return state


def _build(name: str, crop_px: int, **options: Any) -> "nn.Module":
    """A network of timm; if its input has a fixed size, it is built for the crop."""
    timm = _timm()
    config = _config(name)
    if config.fixed_input_size and config.input_size[1] != crop_px:
        options["img_size"] = crop_px
    network: nn.Module = timm.create_model(name, **{"pretrained": False, **options})
    return network


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise UnavailableError(
            "timm:NAME needs the package timm. Install it with `pip install 'evaluator[timm]'`."
        ) from error
    return timm


def _config(name: str) -> Any:
    """Timm's ``PretrainedCfg`` of a name, with a tag or without."""
    timm = _timm()
    architecture = name.partition(".")[0]
    if not name or architecture not in timm.list_models():
        raise InputError(f"timm has no model {name!r}. {_hint(timm, name)}")
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # for an unknown tag
        tags = timm.list_pretrained(f"{architecture}.*")
        same = [tag for tag in tags if tag.lower() == name.lower()]
        raise InputError(
            f"timm has no weights {name!r}. Expected {' or '.join(same or tags) or 'no tag'}."
        ) from error
    if config is None:
        raise InputError(
            f"timm does not give the preprocessing of {name}, so it cannot be evaluated."
        )
    return config


def _hint(timm: Any, name: str) -> str:
    """The question whether a present name was meant; never one of other weights."""
    if (present := timm_name(name)) is not None:
        return f"Did you mean {TIMM}{present}?"
    architecture = name.partition(".")[0]
    known = of_same_weights(architecture, timm.list_models())
    otherwise = "timm.list_models() lists its models."
    return did_you_mean(architecture, known, otherwise, (TIMM + "{}").format)


def _preprocessing(name: str, config: Any) -> Preprocessing:
    """Preprocessing of timm's ``resolve_model_data_config`` and ``transforms_imagenet_eval``.

    It is that of the training's size; the test size, of which timm publishes the accuracy, is in
    its ``sizes``.
    """
    from timm.data import config as timm_config

    resolve: Any = timm_config.resolve_data_config
    data = resolve(pretrained_cfg=config.to_dict())
    test = resolve(pretrained_cfg=config.to_dict(), use_test_size=True)
    channels, height, width = data["input_size"]
    if channels != 3 or height != width:
        raise InputError(f"{name} takes {channels} x {height} x {width}, expected 3 x S x S.")
    if data["crop_mode"] != "center":
        raise InputError(
            f"{name} is evaluated without a crop from the centre (timm's crop mode "
            f"{data['crop_mode']!r}), which is not supported. To evaluate it with a centre crop, "
            "give package.module:callable with --description FILE.toml."
        )
    if data["interpolation"] not in _INTERPOLATIONS:
        raise InputError(
            f"{name} is evaluated with {data['interpolation']} interpolation, expected "
            f"{' or '.join(_INTERPOLATIONS)}."
        )
    resize_px = int(height / data["crop_pct"])  # rounded down, as timm does
    return Preprocessing(
        resize_px,
        height,
        data["interpolation"],
        tuple(data["mean"]),
        tuple(data["std"]),
        sizes=PublishedSizes(data["crop_pct"], test["input_size"][1], test["crop_pct"]),
    )


def timm_weights(architecture: str) -> Iterator[tuple[str, str]]:
    """Names in timm, with their tags, of an architecture's weights whose hash is known.

    Yields:
        Name, and start of the SHA-256 of the file; nothing if timm is not installed.
    """
    try:
        timm = _timm()
    except UnavailableError:
        return
    for name in timm.list_pretrained(f"{architecture}.*"):
        url = timm.get_pretrained_cfg(name).url
        if isinstance(url, str) and (prefix := Download(url).sha256_prefix):
            yield name, prefix


def _weights(config: Any) -> Download | NotPublished:
    """The published weights, preferably a file whose name has its hash."""
    url = config.url if isinstance(config.url, str) else ""
    is_readable = url and not config.custom_load and not url.endswith(".npz")
    if is_readable and (download := Download(url)).sha256_prefix:
        return download
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        file = config.hf_hub_filename or "model.safetensors"
        hub = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
        return Download(f"{hub}/{repository}/resolve/{quote(revision or 'main', safe='')}/{file}")
    if is_readable:
        return Download(url)
    return NotPublished("their format is not supported" if url else "nobody published any")
