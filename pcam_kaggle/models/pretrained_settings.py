"""Settings of networks pretrained on ImageNet."""

import dataclasses

from ..system.settings import setting
from .settings import NetworkSettings

NOTOP = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
PRETRAINED = {  # the network, and Keras's name for its base's weights
    "densenet121": f"densenet121{NOTOP}",
    "densenet169": f"densenet169{NOTOP}",
    "resnet50v2": f"resnet50v2{NOTOP}",
    "efficientnetv2b0": "efficientnetv2-b0_notop.h5",
    "efficientnetv2s": "efficientnetv2-s_notop.h5",
    "convnext_tiny": "convnext_tiny_notop.h5",
    "nasnetmobile": "nasnet_mobile_no_top.h5",
    "xception": f"xception{NOTOP}",
}


@dataclasses.dataclass(frozen=True)
class PretrainedSettings(NetworkSettings):
    """A network of PRETRAINED."""

    architecture: str = setting("densenet121", "the network", tuple(PRETRAINED))
    weights: str = setting("imagenet", "initial weights: imagenet, none, or a file")

    def check(self):
        super().check()
        if self.architecture == "xception" and self.input_size < 72:
            raise ValueError(
                "input_size: xception takes 72 to 224 pixels. "
                f"Received: input_size={self.input_size}"
            )
