"""How the items of benchmarks lie in their folders: see ``contracts.Tree``."""

from ..contracts import Tree
from .classes import class_index
from .sources.listing import IMAGE_SUFFIXES

IMAGES_IN_CLASS_FOLDERS = Tree(
    folders=class_index,
    suffixes=IMAGE_SUFFIXES,
    noun="image",
    folder_noun="ImageNet class",
    example="n01440764/ILSVRC2012_val_00000293.JPEG",
    listed=True,
)
"""``<wnid>/<file>``, as torchvision's ImageFolder has it, but a label is the class of the folder's
WordNet id and never the folder's position: on a partial tree the position gives an error of 100 %.
"""
