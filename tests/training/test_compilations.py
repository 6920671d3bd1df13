"""XLA compiles three programs for a network: a step of training, of validation, of prediction."""

import dataclasses
import weakref

from conftest import TESTS, run_python
from small_task import PATCHES, build_tiny, make_method, make_split

CODE = """
import sys

sys.path[:0] = sys.argv[1:]
from small_task import PATCHES, make_method, make_split
from pcam_kaggle.inference import views
from pcam_kaggle.training import optimizer

optimizer.choose_jit_compile = views.choose_jit_compile = lambda: True
views.IMAGES_PER_PASS = 24
# 32 patches to train on, 16 to validate, 15 to predict: no batch size divides them all.
method = make_method("flip", epochs=2, batch_size=5)
network, history = method.fit(PATCHES, make_split())
method.predict(network, PATCHES.images, make_split().valid)
method.predict(network, PATCHES.images[:15])
"""


def test_a_network_is_compiled_three_times(tmp_path):
    flags = f"--xla_dump_to={tmp_path}"  # two files or more for every compiled program
    result = run_python(["-c", CODE, TESTS.parent, TESTS], XLA_FLAGS=flags)
    assert result.returncode == 0, result.stderr
    programs = [path.name for path in tmp_path.glob("*.before_optimizations.txt")]
    assert len(programs) == 3, programs


def test_a_network_is_freed_before_the_next_is_built():
    method, freed = make_method("flip", epochs=1), []
    network, _ = method.fit(PATCHES, make_split())
    method.predict(network, PATCHES.images[:5])
    known = weakref.ref(network)
    del network

    def build(settings):
        freed.append(known() is None)
        return build_tiny(settings)

    assert known() is not None  # for more predictions
    dataclasses.replace(method, builder=build).fit(PATCHES, make_split())
    assert freed == [True]
