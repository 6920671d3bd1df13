"""Explanations of predictions, which may fail."""

import contextlib
import dataclasses
import traceback

import keras

from ..data.run import Patches
from ..system.clock import Clock
from ..system.records import Member, save_member
from .members import Job


def explain_member(
    method: object, network: keras.Model, patches: Patches, job: Job, member: Member
) -> Member:
    """Add explanations to a network's results and save them; if that fails, a warning."""
    clock = Clock()
    try:
        explanation = method.explain(network, patches, member.positions, member.oof_one_view)
        clock.end("explain", len(explanation.shown))
        stages = {**member.stages, **clock.stages}
        explained = dataclasses.replace(member, explanation=explanation, stages=stages)
        save_member(job.path, explained, job.facts["fingerprint"])
        return explained
    except Exception as error:  # must not lose the network
        traceback.print_exc()
        warning = f"warning: {job.name} is not explained: {type(error).__name__}: {error}"
        member = dataclasses.replace(member, warning=warning)
        with contextlib.suppress(OSError):  # a full disk, say
            save_member(job.path, member, job.facts["fingerprint"])
        return member
