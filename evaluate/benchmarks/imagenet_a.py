"""ImageNet-A: 7,500 photos of 200 classes that ResNet-50 gets wrong though people do not.

Only the 200 classes may be answered, so the recorded probabilities are those among the 200; classes
keep their indices among the 1000.

    accuracy               =  images whose likeliest class is the label / images
    rms_calibration_error  =  as published: its last bin of 100 to 199 images is left out
    aurra                  =  mean over k of the accuracy on the k images of highest confidence

Source: Hendrycks, Zhao, Basart, Steinhardt & Song, "Natural Adversarial Examples", CVPR 2021;
eval.py and calibration_tools.py of hendrycks/natural-adv-examples.
"""

from dataclasses import replace

from ...contracts import BENCHMARK_INFO
from ..classes import imagenet_a_index
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from ..metrics.calibration import IMAGES_A_BIN, aurra, rms_calibration_error_as_published
from .image_metrics import ConfidenceMetric, ImageMetrics, PlainImages, ShareMetric

ONE_BIN = (
    f"the published calibration error leaves out its last bin, and below {2 * IMAGES_A_BIN} images "
    "there is no other"
)

METRICS = ImageMetrics(
    shares=(ShareMetric("accuracy", lambda outcomes: outcomes.top1),),
    confidence=(
        ConfidenceMetric(
            "rms_calibration_error",
            rms_calibration_error_as_published,
            least_images=2 * IMAGES_A_BIN,
            too_few=ONE_BIN,
            always_listed=True,
        ),
        ConfidenceMetric("aurra", aurra, always_listed=True),
    ),
)

IMAGES = PlainImages(BENCHMARK_INFO["imagenet-a"], frozenset(imagenet_a_index().values()), METRICS)

IMAGENET_A = IMAGES.benchmark(
    "imagenet-a-1",
    replace(
        IMAGES_IN_CLASS_FOLDERS,
        folders=imagenet_a_index,
        class_dir_name="class of ImageNet-A",
        example="n01498041/photo.jpg",
        listed=False,
    ),
)
