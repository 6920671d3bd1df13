"""The two hospitals of Camelyon16, read from the names of its training slides."""

import numpy as np
import pandas as pd

# Of FLamby's metadata (Ogier du Terrail et al. 2022): the others are of Radboud UMC.
FIRST_OF_UTRECHT = {"normal": 101, "tumor": 71}
HOSPITALS = ("Radboud UMC", "UMC Utrecht")


def find_hospitals(slides: np.ndarray) -> np.ndarray:
    """The hospital of each slide: array of str, "" for a name that tells nothing.

    Args:
        slides: array (n,) of names such as camelyon16_train_tumor_071.
    """
    names = pd.Series(slides, dtype=str).str.extract(r"train_(normal|tumor)_(\d{3})$")
    is_second = names[1].astype(float) >= names[0].map(FIRST_OF_UTRECHT)
    return np.select([names[0].isna(), is_second], ["", HOSPITALS[1]], HOSPITALS[0])
