"""Which patches a run explains."""

import numpy as np

NUM_SHOWN = 4  # patches of each kind that a network explains
SHOWN_KINDS = {  # kind: (the true label, whether the highest predictions are wanted)
    "surest tumor": (1, True),
    "surest no tumor": (0, False),
    "missed tumor": (1, False),
    "false alarm": (0, True),
}


def choose_shown(labels: np.ndarray, predictions: np.ndarray) -> dict:
    """Choose the patches to explain: the surest hits and the worst errors.

    A patch counts as called tumor if its prediction is 0.5 or more.

    Args:
        labels: int array (n,) of 0 and 1.
        predictions: float array (n,), out of fold.

    Returns:
        dict of kinds, as in SHOWN_KINDS, and int arrays of up to four positions, the most
        extreme prediction first.
    """
    order = np.argsort(predictions, kind="stable")
    shown = {}
    for kind, (label, highest) in SHOWN_KINDS.items():
        of_kind = (labels == label) & ((predictions >= 0.5) == highest)
        positions = order[::-1] if highest else order
        shown[kind] = positions[of_kind[positions]][:NUM_SHOWN]
    return shown
