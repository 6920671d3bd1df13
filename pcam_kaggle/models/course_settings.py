"""Settings of the course notebook's three networks."""

import dataclasses

from ..system.settings import Part, setting
from .settings import check_crop

COURSE = ("my_vgg16", "course_resnet34", "vgg16")
VGG16_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"  # Keras's name


@dataclasses.dataclass(frozen=True)
class CourseNetworkSettings(Part):
    """A network of the course notebook; its dropout is as published."""

    architecture: str = setting("course_resnet34", "the network", COURSE)
    weights: str = setting("none", "initial weights: imagenet (vgg16), none, or a file")
    crop_size: int = setting(96, "side of the center crop, in pixels", low=32, high=96)
    input_size: int = setting(96, "side to which the center is resized", low=32, high=224)

    def check(self):
        check_crop(self.crop_size)
        if self.architecture != "course_resnet34" and self.input_size < 96:
            raise ValueError(
                f"input_size: {self.architecture} takes 96 to 224 pixels. "
                f"Received: input_size={self.input_size}"
            )
        if self.weights == "imagenet" and self.architecture != "vgg16":
            raise ValueError(
                f"weights: {self.architecture} has no ImageNet weights; use weights=none or a "
                "file. Received: weights='imagenet'"
            )
