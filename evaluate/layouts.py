"""Layouts of data sets, and the names of folders and files in them: see ``DatasetLayout``."""

from ..contracts import ALEXNET_ERROR, DatasetLayout
from .classes import class_index

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
)
"""The suffixes of torchvision's ImageFolder."""

CORRUPTIONS = tuple(ALEXNET_ERROR)
"""The 15 corruptions of ImageNet-C, in the order of the paper's tables."""

EXTRA_CORRUPTIONS = ("speckle_noise", "spatter", "gaussian_blur", "saturate")
"""Corruptions in the archive of ImageNet-C that are not part of the benchmark."""

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
"""``<wnid>/<file>``, as with torchvision's ImageFolder, but a label is the class of the folder's
WordNet id and never the folder's position: if classes are missing, positions give an error of up to
100 %.
"""
