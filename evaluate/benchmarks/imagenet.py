"""ImageNet's validation set: 50,000 photos, top-1 and top-5 error.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from ...contracts import BENCHMARK_INFO
from .image_metrics import PlainImages

IMAGENET = PlainImages(BENCHMARK_INFO["imagenet"]).benchmark("imagenet-1")
