"""How the items of benchmarks lie in their folders: see ``contracts.Tree``."""

from ..contracts import ALEXNET_ERROR, DatasetLayout
from .classes import class_index

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
)
"""Those of torchvision's ImageFolder."""

CORRUPTIONS = tuple(ALEXNET_ERROR)
"""The 15 corruptions of ImageNet-C that count, in the order of the paper's tables."""

EXTRA_CORRUPTIONS = ("speckle_noise", "spatter", "gaussian_blur", "saturate")
"""Corruptions in the archive of ImageNet-C that enter no number."""

SEVERITIES = (1, 2, 3, 4, 5)

SEVERITY_FOLDERS = frozenset(map(str, SEVERITIES))
"""Names of the folders of ImageNet-C that hold class folders."""

IMAGES_IN_CLASS_FOLDERS = DatasetLayout(
    folders=class_index,
    suffixes=IMAGE_SUFFIXES,
    noun="image",
    class_dir_name="ImageNet class",
    example="n01440764/ILSVRC2012_val_00000293.JPEG",
    listed=True,
)
"""``<wnid>/<file>``, as torchvision's ImageFolder has it, but a label is the class of the folder's
WordNet id and never the folder's position: on a partial tree the position gives an error of 100 %.
"""
