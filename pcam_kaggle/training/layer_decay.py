"""Learning rates that fall from the last layer of a transformer to the first."""

import functools
import re

import keras
from keras import ops, optimizers

from ..models.vit import BACKBONE
from .optimizer import compile_model
from .settings import TrainingSettings

# Where a variable of a DINOV2Backbone is, by its path.
PLACES = re.compile(rf"{BACKBONE}_(?:(embeddings)|encoder/layers_(\d+)|(layernorm))/")


def compile_layerwise(
    model: keras.Model, settings: TrainingSettings, num_steps: int, decay: float
) -> None:
    """Compile a network that `build_vit` has built, behind its augmentation.

    Args:
        model, settings, num_steps: as for `compile_model`.
        decay: as for `find_factors`.
    """
    factors = find_factors(model.layers[-1], decay)
    kind = functools.partial(LayerwiseAdamW, factors=factors)
    compile_model(model, settings, num_steps, adamw=kind)


class LayerwiseAdamW(optimizers.AdamW):
    """AdamW with a factor of the learning rate for each variable (Bao et al. 2021).

    The weight decay is multiplied by the same factor, as it is by the learning rate. Only kernels
    decay: no biases, which have two dimensions in attention, no scales, tokens or positions.

    Args:
        learning_rate: as for AdamW.
        factors: dict of the variables' paths and their factors.
        weight_decay: of the kernels.
        options: as for AdamW.
    """

    def __init__(self, learning_rate, factors: dict, weight_decay: float = 0.0, **options):
        super().__init__(learning_rate, weight_decay=0.0, **options)
        self.weight_decay = None  # Keras's, which is the same for all variables
        self.factors, self.kernel_decay = factors, weight_decay or 0.0

    def build(self, variables: list) -> None:
        """Look up the factors.

        Raises:
            ValueError: a variable has none.
        """
        missing = [variable.path for variable in variables if variable.path not in self.factors]
        if missing:
            raise ValueError(
                "layer_decay: expected a factor of the learning rate for every variable. "
                f"Received: none for {', '.join(missing)}"
            )
        super().build(variables)
        self.rates = [
            (self.factors[v.path], self.kernel_decay if v.path.endswith("/kernel") else 0.0)
            for v in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        """Update a variable with its own learning rate."""
        factor, decay = self.rates[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype) * factor
        if decay:
            self.assign_sub(variable, variable * (rate * decay))
        super().update_step(gradient, variable, rate)

    def get_config(self):
        config = {**super().get_config(), "weight_decay": self.kernel_decay}
        return {**config, "factors": dict(self.factors)}


def find_factors(network: keras.Model, decay: float) -> dict:
    """The factors of a network that `build_vit` has built, by the paths of its variables.

    The last layer and the normalization before it have the factor 1; the factor of each block is
    `decay` times that of the next, and that of the embeddings `decay` times the first block's.

    Raises:
        ValueError: the place of a variable is not known.
    """
    backbone = network.get_layer(BACKBONE)
    factors = {variable.path: 1.0 for variable in network.layers[-1].trainable_variables}
    for variable in backbone.trainable_variables:
        found = PLACES.match(variable.path)
        if not found:
            raise ValueError(
                "layer_decay: expected a variable of the embeddings, of a block or of the last "
                f"normalization. Received: {variable.path}, from another version of keras-hub"
            )
        is_first, block, _ = found.groups()
        num_above = backbone.num_layers - int(block) if block else 0
        factors[variable.path] = decay ** (backbone.num_layers + 1 if is_first else num_above)
    return factors
