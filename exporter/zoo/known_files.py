"""Weights files that are known by the start of their SHA-256, whatever they are called."""

import importlib.util
from collections.abc import Iterator

from .rows import PublishedWeights, ZooModel
from .table import KNOWN_PREFIXES, MODELS, torchvision_names, torchvision_weights
from .timm_models import timm_model, timm_weights

TIMM_FILES = {
    "14fe96d1": "resnet50.a1_in1k",
    "001a1197": "resnet50.a1h_in1k",
    "a2746f79": "resnet50.a2_in1k",
    "59cae1ef": "resnet50.a3_in1k",
    "6c502b37": "resnet50.am_in1k",
    "532a802a": "resnet50.b1k_in1k",
    "1ba180c1": "resnet50.b2k_in1k",
    "86acaeed": "resnet50.bt_in1k",
    "5ba5e060": "resnet50.c1_in1k",
    "d01e05b2": "resnet50.c2_in1k",
    "f39db8af": "resnet50.d_in1k",
    "08389792": "resnet50.fb_ssl_yfcc100m_ft_in1k",
    "16a12f1b": "resnet50.fb_swsl_ig1b_ft_in1k",
    "0ebe02e2": "resnet50.gluon_in1k",
    "85ebb6e5": "resnet50.ra_in1k",
    "a26f946b": "resnet50.ram_in1k",
    "b5a91a1d": "resnext50_32x4d.a1_in1k",
    "0146ab0a": "resnext50_32x4d.a1h_in1k",
    "efc76add": "resnext50_32x4d.a2_in1k",
    "3e450271": "resnext50_32x4d.a3_in1k",
    "ddb3e555": "resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k",
    "72679e44": "resnext50_32x4d.fb_swsl_ig1b_ft_in1k",
    "e6a097c1": "resnext50_32x4d.gluon_in1k",
    "d733960d": "resnext50_32x4d.ra_in1k",
    "2cfe2f8b": "resnext101_32x8d.fb_ssl_yfcc100m_ft_in1k",
    "b4712904": "resnext101_32x8d.fb_swsl_ig1b_ft_in1k",
}
"""timm's files of the zoo's architectures: thanks to it timm is only imported for one of them."""


def known_file(model: ZooModel, sha256: str) -> PublishedWeights | None:
    """The published weights that a file holds; `None` if it is not known.

    torchvision's files are prepared as torchvision says, also where timm has them in its table.

    Args:
        model: Model whose weights the file is given as.
        sha256: SHA-256 of the file.

    Raises:
        InputError: If the file is timm's, whose preprocessing for it is not supported.
    """
    in_zoo = (weights for row in MODELS.values() for weights in row.published)
    for weights in (*in_zoo, *_published_by_torchvision(model)):
        if weights.sha256_prefix and sha256.startswith(weights.sha256_prefix):
            return weights
    for name, prefix in _files_of_timm(model):
        if sha256.startswith(prefix):
            return timm_model(name).published[0]
    return None


def _architecture(model: ZooModel) -> str:
    return model.architecture.rpartition(":")[2]


def _published_by_torchvision(model: ZooModel) -> list[PublishedWeights]:
    """Torchvision's weights of the architecture; those of the zoo's are in the zoo's table."""
    name = _architecture(model)
    if model.name.startswith(KNOWN_PREFIXES) and name in torchvision_names():
        return torchvision_weights(name)
    return []


def _files_of_timm(model: ZooModel) -> Iterator[tuple[str, str]]:
    if model.name.startswith(KNOWN_PREFIXES):
        yield from timm_weights(_architecture(model))
    elif importlib.util.find_spec("timm") is not None:
        yield from ((name, prefix) for prefix, name in TIMM_FILES.items())
