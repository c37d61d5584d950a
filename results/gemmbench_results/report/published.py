"""Shares of a forward pass that others found in convolutions and fully connected layers.

The blog post's two are read from its text; the figure that they stand under is an image. The
others are quotients of times in logs, computed for this project; each names its log.
"""

from dataclasses import dataclass

POST = "petewarden.com 2015-04-20, after Jia's thesis"
LOGS = "soumith/convnet-benchmarks, Titan X"


@dataclass(frozen=True, slots=True)
class Published:
    """A share, as a fraction, of which network where, and who says so."""

    share: float
    what: str
    source: str


PUBLISHED = (
    Published(0.95, "AlexNet on a GPU", POST),
    Published(0.89, "AlexNet on a CPU", POST),
    Published(
        0.905, "AlexNet without LRN, batch 128, GPU",
        f"{LOGS}, caffe/output_alexnet.log@6f718db: (33.83 + 4.57) of 42.41 ms",
    ),
    Published(
        0.961, "OverFeat, GPU",
        f"{LOGS}, caffe/output_overfeat.log@6f718db: (124.62 + 11.93) of 142.05 ms",
    ),
    Published(
        0.884, "VGG-A, GPU",
        f"{LOGS}, caffe/output_vgg_a.log@6f718db: (187.43 + 9.50) of 222.82 ms",
    ),
    Published(
        0.724, "GoogLeNet, GPU",
        f"{LOGS}, caffe/output_googlenet.log@6f718db: 106.0 of 146.3 ms",
    ),
)  # fmt: skip
