"""Explanations of predictions, which may fail."""

import dataclasses
import traceback

import keras

from ..data.run import Patches
from ..system.clock import Clock
from ..system.records import Member
from .members import Job


def explain_member(
    method: object, network: keras.Model, patches: Patches, job: Job, member: Member
) -> Member:
    """Add explanations to a network's results; if they fail, a warning."""
    clock = Clock()
    try:
        explanation = method.explain(network, patches, member.positions, member.oof_one_view)
    except Exception as error:  # must not lose the network
        traceback.print_exc()
        warning = f"warning: {job.name} is not explained: {type(error).__name__}: {error}"
        return dataclasses.replace(member, warning=warning)
    clock.end("explain", len(explanation.shown))
    stages = {**member.stages, **clock.stages}
    return dataclasses.replace(member, explanation=explanation, stages=stages)
