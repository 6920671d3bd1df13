"""What every model card says, whatever the run."""

PURPOSE = (
    "**Research use only, not for diagnosis.** These networks estimate the probability that the "
    "center of a patch of tissue contains tumor."
)
GENERATED = (
    "Made from the run's files. `train`, `output` and `card` write this file again: keep your own "
    "notes in another one."
)
INTENDED = """\
- Research and teaching: to rank patches of the kind described under Data, and to compare methods \
on them.
- As a start for further training on such patches.

## Not intended use

- **Diagnosis, or any decision about a patient.** These networks are no medical device.
- **Whole slides.** PCam was balanced to one half of patches with tumor and mined for hard \
negatives, so its patches are no random sample of a slide. Probabilities, precision and operating \
points do not carry over to slides, and a map of predictions is no slide-level diagnosis. No \
figure here is per slide or per patient.
- Tissue, stains and scales other than those of the patches under Data (of PCam: lymph nodes with \
metastases of breast cancer, H&E): none of these was tested."""
OTHERS = """\
The run does not record where its patches come from, and its test patches are not as many as the \
competition's. If they are others, their tissue, origin and license are not known here, and what \
this card says of PCam does not hold for them. """
SOURCE = """\
The competition's patches are those of PatchCamelyon (Veeling et al. 2018): 96x96 pixels, RGB, \
about 0.97 micrometers per pixel, cut from H&E slides of Camelyon16 (Ehteshami Bejnordi et al. \
2017), which come from two hospitals. A patch has tumor if its center of 32x32 pixels has any."""
POINTS = {
    "specificity 95 %": "specificity of at least 95 %",
    "sensitivity 95 %": "sensitivity of at least 95 %",
    "Youden": "largest sum of both (Youden 1950)",
    "0.5": "0.5",
}
FEW_SLIDES = 30
ROUGH = (
    f" With fewer than about {FEW_SLIDES} slides, the intervals of this card are rough, and rather "
    "too narrow than too wide."
)
PARTS = ("public", "private")  # of the test patches
PREDICT = """\
With the repository that made them, for patches of 96x96 pixels (TIFF, PNG, JPEG):

```
python build.py predict RUN patches/
```"""
EXAMPLE = """\
`example.py` predicts patches of 96x96 pixels (TIFF, PNG, JPEG); without an argument, the patch \
beside it. It needs {needs}.

```
python example.py PATCH
```"""
LOAD = """\
One network alone, with Keras:

```python
{imports}

network = keras.saving.load_model("{path}", compile=False)
probability = network.predict(pixels)  # pixels: (n, 96, 96, 3), RGB from 0 to 255
```"""
NEEDS = {
    "": "Keras with a backend such as TensorFlow, NumPy and Pillow",
    "keras_hub": "Keras with a backend such as TensorFlow, keras-hub, NumPy and Pillow",
    "pcam_kaggle": (
        "the package pcam_kaggle: in a clone of its repository, "
        '`python -m pip install -e ".[foundation]"`'
    ),
}
IMPORTS = {
    "": "import keras",
    "keras_hub": "import keras\nimport keras_hub",
    "pcam_kaggle": "import keras\nimport pcam_kaggle.models.dihedral  # its layers",
}
