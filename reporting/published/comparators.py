"""Why rows of the paper's tables that are of other work cannot be compared directly.

Sources: the publications that each reason names; for the attack on Denoising, the code in
facebookresearch/ImageNet-Adversarial-Training; for the shape bias, rgeirhos/texture-vs-shape.
"""

from collections.abc import Mapping

PATCH_GAUSSIAN = "Patch Gaussian (ResNet-200) (Lopes et al., 2019)"
RESNEXT_64X4D = "resnext101_64x4d (Hendrycks and Dietterich, 2019)"
ALP = "ALP (InceptionV3) (Kannan et al., 2018)"
DENOISING = "Denoising (ResNet-152) (Xie et al., 2018)"
RESNET_50 = "ResNet-50 (Geirhos et al., 2019)"
SHAPE_RESNET_50 = "Shape-ResNet-50 (Geirhos et al., 2019)"
HUMANS = "Humans (Geirhos et al., 2019)"

_UNNAMED_RULE = (
    "by 1,200 stimuli, not 1,201, and the rule that decides for a category is not named; the "
    "paper's rows are by the likeliest of 207 classes"
)

WHY_NOT_COMPARABLE: Mapping[str, str] = {
    PATCH_GAUSSIAN: "copied from another publication: another network, trained with noise as "
    "augmentation, which resembles three of the corruptions; ImageNet-P was not measured",
    RESNEXT_64X4D: "copied from another publication: another network, trained and scored with "
    "other code; its clean error and preprocessing are not those of the paper's rows",
    ALP: "under another attack, with an epsilon, step and count of its own",
    DENOISING: "under another attack: epsilon 16/255, step 1.6/255 at 10 steps and 1/255 beyond, "
    "the last iterate is judged, and any misclassification counts. By the paper's count it would "
    "be about 60 at 10 steps",
    RESNET_50: _UNNAMED_RULE,
    SHAPE_RESNET_50: f"trained on Stylized-ImageNet; {_UNNAMED_RULE}",
    HUMANS: "ten people who pressed one of 16 buttons for an image shown for 200 ms; no "
    "probabilities are averaged, so no rule of a network applies",
}
"""The reason of each row of other work, by the paper's name of the row."""
