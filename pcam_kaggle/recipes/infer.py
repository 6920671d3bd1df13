"""Test patches predicted by the networks of finished runs.

Nothing is trained: it takes minutes. The networks that one or several finished runs have kept,
attached as inputs, predict the test patches, in the views of their run or in others. The networks
of a run are calibrated and averaged as that run did; several runs are averaged by their log-odds.
The predictions of each network are kept, so that a session that was stopped continues.
"""

from ..data.cache import load_cached
from ..data.run import Run
from ..inference.kept_runs import find_kept_runs
from ..inference.other_data import refuse_others
from ..inference.reuse_settings import AllPatches, InferSettings, ReuseMachine, list_ids
from ..inference.submission import write_submission
from ..methods.features import discard_features
from ..methods.infer import average_runs, infer, list_kept, write_inference
from ..system.device import set_up_device

SETTINGS = {}


def parts() -> dict:
    """The settings that `main` reads, by part."""
    return {"runs": InferSettings, "data": AllPatches, "machine": ReuseMachine}


def main(run: Run) -> None:
    """Predict by every network, average them, write the submission."""
    settings, test_patches = run.settings, run.competition.test
    runs = find_kept_runs(list_ids(settings.runs.networks), run.data)
    refuse_others(runs, run.competition.train["id"])
    kept = list_kept(runs, settings.runs, run.output)
    for source in runs:
        names = f"{len(source.networks)} networks of {source.record['recipe']}"
        print(f"run      {source.build_id}: {names}, {source.folder}", flush=True)
    device = set_up_device(settings.machine)

    images = load_cached(test_patches, settings.data.verify_ids, "test")
    run.clock.end("decode_test", len(images))
    for done in infer(kept, images, settings.runs, run, device):  # after every network
        test = average_runs(runs, kept, done)
        write_submission(run.output, test_patches["id"], test, settings.runs.labels)
        results = write_inference(run, device, runs, kept, done)
    if results["complete"]:
        discard_features(run)
    print(*results["warnings"], f"total    {results['seconds']:.1f} s", sep="\n")
    print("wrote    submission.csv, run.json", flush=True)
