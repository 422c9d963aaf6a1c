"""ImageNet's validation set: 50,000 photos, top-1 and top-5 error.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from ...contracts import BENCHMARK_INFO, Benchmark
from ..decode import decode_photo
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from .image_metrics import CLEAN, PlainImages
from .top5 import SCHEMA

IMAGES = PlainImages(BENCHMARK_INFO["imagenet"])

IMAGENET = Benchmark(
    info=IMAGES.info,
    conditions=(CLEAN,),
    stimuli_px=None,
    tree=IMAGES_IN_CLASS_FOLDERS,
    protocol="imagenet-1",
    schema=SCHEMA,
    decode=decode_photo,
    record=IMAGES.record,
    scores=IMAGES.scores,
    differences=IMAGES.differences,
)
