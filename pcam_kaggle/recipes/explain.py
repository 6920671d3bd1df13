"""Grad-CAM maps and the worst errors of a finished run.

The networks of one finished run, attached as input, explain patches that they were not trained on:
of each fold the surest hits and the worst errors. A map shows on which parts of a patch the
prediction depends. For networks with feature maps; the page of explain_tokens does the same for
transformers.
"""

import dataclasses

from ..data.run import Run
from ..inference.kept_runs import find_kept_run
from ..inference.reuse_settings import AllPatches, KeptSettings, ReuseMachine
from ..methods.explain_pixels import explain_pixels
from ..methods.explain_run import explain_run
from ..system.device import set_up_device

SETTINGS = {"require_gpu": False}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {"run": KeptSettings, "data": AllPatches, "machine": ReuseMachine}


def main(run: Run) -> None:
    """Find the run, explain patches of every fold, draw them."""
    source = find_kept_run(run.settings.run.networks, run.data)
    set_up_device(dataclasses.replace(run.settings.machine, num_workers=1))  # keeps the GPU
    explain_run(source, run, explain_pixels)
