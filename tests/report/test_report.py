"""The report: what it says, what it keeps of its author's words, what it refuses."""

import json
import re
import shutil
import subprocess

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import run_python
from report_runs import (
    add_slides,
    assess,
    draw,
    make_exploration,
    make_old,
    make_run,
    make_several,
    make_study,
    read_run_json,
    write_record,
)
from sklearn.metrics import roc_auc_score

from kernel.blend import blend_runs
from kernel.report import writer
from kernel.report.assessment import keep_interval
from kernel.report.methods import describe_training
from kernel.report.networks import make_rows
from kernel.report.notebook import build_notebook
from kernel.report.outline import tell
from kernel.report.reading import read_run
from kernel.report.story import SLOTS, Story
from kernel.report.words import gather_words, parse_words
from kernel.report.writer import check_runs, find_repository, write_report

SECTIONS = [
    "1. Problem and data",
    "2. Exploration",
    "3. Architectures",
    "4. Results and analysis",
    "5. Conclusion",
    "6. Repository and leaderboard",
    "7. References",
]
EXPLORE = "`python build.py train explore --data DIR`, then `python build.py report RUN explore`"


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """A run with its pictures and an exploration, made once: copy them."""
    folder = tmp_path_factory.mktemp("templates")
    run = make_run(folder / "pcam-fast-0000000000")
    draw([read_run(run, run)])
    images = np.random.default_rng(0).integers(90, 215, (60, 96, 96, 3))
    make_exploration(folder / "eda", images.astype("uint8"))
    return folder


@pytest.fixture
def run(templates, tmp_path):
    name = "pcam-fast-0000000000"
    return shutil.copytree(templates / name, tmp_path / "runs" / name)


def test_a_run_s_own_number_of_parameters_counts_more_than_the_known_one(run):
    record = read_run_json(run)
    write_record(run, {**record, "num_parameters": 1_234, "num_trainable": 0})
    row = make_rows(read_run(run, run))["densenet121"]
    assert (row["parameters"], row["trained"]) == ("1,234", "0")
    for name in ("num_parameters", "num_trainable"):  # as runs of older versions
        del record[name]
    write_record(run, record)
    row = make_rows(read_run(run, run))["densenet121"]
    assert (row["parameters"], row["trained"]) == ("7,039,553", "6,955,905")


def test_a_logistic_head_is_named_whatever_the_network():
    settings = {"num_folds": 5, "head": "logistic", "epochs": 3}
    assert describe_training(settings) == (
        "All labeled patches are split into 5 folds. For each fold, one network is trained on "
        "the other folds, by logistic regression."
    )
    assert describe_training({**settings, "head": "linear"}).endswith("folds: 3 epochs.")
    text = describe_training({**settings, "folds": [0], "num_images": 6000, "num_seeds": 2})
    assert text.startswith("6,000 of the labeled patches are split into 5 folds. For 1 of these ")
    assert "folds, 2 networks are trained on the other folds" in text


@pytest.fixture
def other(run):
    """Another run of the same competition, half of it: no history, one fold."""
    folder = make_run(run.with_name("other"), seed=1, folds=(0,))
    (folder / "history.csv").unlink()
    record = read_run_json(folder)
    record["not_trained"] = ["fold 1 seed 1"]
    record["warnings"] = ["warning: no time for fold 1 seed 1"]
    write_record(folder, record)
    return folder


@pytest.fixture
def explored(templates, run):
    return shutil.copytree(templates / "eda", run.with_name("eda"))


def read_notebook(run):
    return nbformat.read(run / "report.ipynb", nbformat.NO_CONVERT)


def story_of(*folders):
    """All that a report says, without executing its notebook."""
    runs = [read_run(folder, folders[0]) for folder in folders]
    check_runs(runs)
    is_drawn = all([*folder.glob("*.png")] for folder in folders)
    assessment = assess(runs) if is_drawn else draw(runs)  # drawing takes a second
    story = tell(runs, assessment, dict.fromkeys(SLOTS, ""), None)
    text = "\n".join([*(cell.source for cell in story.cells), str(story.kept)])
    return text.replace('"\n    "', "")  # the lines of a caption


def test_a_report_is_a_page_and_an_executed_notebook(run, other, explored):
    scores = {"submission": 1, "public_score": "0.81234", "private_score": ""}
    (run / "submit.json").write_text(json.dumps(scores))
    shutil.copy(explored / "data_labels.png", run / "leaderboard.png")
    blend = blend_runs([run, other], runs=run.parent, say=lambda line: None)
    said = []
    folders = [run, other, blend, explored]
    page = write_report(folders, "https://example.org/us", said.append)
    assert page == run / "report.html"
    assert "0 of 5 sections have your own words" in said[0]
    text = page.read_text("utf-8")
    assert re.findall(r"<h2[^>]*>(.+?)</h2>", text) == SECTIONS
    auc = json.loads((run / "evaluation.json").read_text())["auc"]
    assert f"AUC out of fold is {auc:.4f}" in text
    assert "0.81234" in text and blend.name not in text
    assert all(f'scope="row">{name}</th>' in text for name in ("fast (1)", "fast (2)", "blend"))
    assert "The members of blend, and how much each adds" in text

    images = re.findall(r"<img ([^>]*)>", re.sub(r"base64,[\w+/=\s]+", "", text))
    num_pictures = len([*run.glob("*.png"), *explored.glob("*.png")])
    assert num_pictures == 5 + 1 + 6 + 1  # charts, leaderboard, exploration, network
    assert len(images) == num_pictures == text.count("<strong>Figure ")
    assert all(re.search(r'alt="[^"]{10,}"', image) for image in images)
    addresses = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']+)""", text)
    assert "https://example.org/us" in addresses and len(set(addresses)) > 5
    assert all(address.startswith("https://") for address in addresses)
    assert "<script" not in text and "pd.DataFrame" not in text
    assert "Your words" not in text

    notebook = read_notebook(run)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "stream"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == num_pictures
    assert str(run) not in nbformat.writes(notebook)


def test_every_sentence_of_the_conclusion_points_at_a_figure_that_is_there(run):
    text = story_of(run)
    conclusion = text[text.index("## 5.") : text.index("## 6.")]
    known = re.findall(r"\*\*Figure (\d+)\.\*\*", text)
    assert known == [str(n) for n in range(1, len(known) + 1)]
    named = re.findall(r"Figure (\d+)", conclusion)
    assert len(named) >= 4 and set(named) <= set(known)
    evaluation = json.loads((run / "evaluation.json").read_text())
    point = evaluation["operating_points"]["specificity 95 %"]
    assert f"{point['sensitivity']:.1%} of the tumor patches" in conclusion
    oof = pd.read_csv(run / "oof.csv")
    views = [np.load(run / "folds" / f"fold{n}_seed{n}.npz")["oof_one_view"] for n in (0, 1)]
    one_view = np.stack(views, axis=1).ravel()  # the folds take turns
    gain = evaluation["auc"] - roc_auc_score(oof["label"], one_view)
    assert f"Test-time augmentation changes the AUC out of fold by {gain:+.4f}" in conclusion


def test_runs_are_compared_on_their_common_patches_and_ranked_nowhere(run, other):
    far = make_run(run.with_name("far"), seed=2, folds=(1,))
    text = story_of(run, other)
    assert "'difference': '" in text and "'common patches': '30'" in text
    assert "On the patches that both predicted out of fold, the AUC of other is" in text
    assert re.search(rf" is 0\.\d{{4}} (above|below) that of {run.name} \(95", text)
    assert "30 patches, by patch: too narrow" in text
    covered = "than the choice of these patches explains; other seeds and folds are not counted"
    assert covered in text and "noise" not in text and "grouped differently" not in text
    assert "highest AUC" not in text
    oof = [pd.read_csv(folder / "oof.csv").set_index("id") for folder in (run, other)]
    oof[0] = oof[0].loc[oof[1].index]
    home, guest = (roc_auc_score(table["label"], table["prediction"]) for table in oof)
    assert f"'difference': '{guest - home:+.4f} (" in text
    assert "\n**other.** The network is densenet121. It starts" in text
    text = story_of(other, far)
    assert text.count("cannot be compared: no common patches") == 2  # the table, the conclusion
    assert "patches that both predicted out of fold, the AUC" not in text
    oof = pd.read_csv(other / "oof.csv")
    oof.assign(label=1 - oof["label"]).to_csv(other / "oof.csv", index=False)
    assert "cannot be compared: other labels" in story_of(run, other)


def test_intervals_by_slide_are_told_as_such(run, other):
    for folder in (run, other):
        add_slides(folder)
    text = story_of(run, other)
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert (evaluation["resampled"], evaluation["num_slides"]) == ("slides", 6)
    assert "by slide: 6 slides" in text and "too narrow" not in text
    oof = pd.read_csv(run / "oof.csv").drop(columns="slide")
    oof.to_csv(run / "oof.csv", index=False)
    text = story_of(run, other)
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert (evaluation["resampled"], evaluation["num_slides"]) == ("patches", None)
    assert "by patch: too narrow for other slides).\n" in text
    assert "by slide: 3 slides" in text  # the other run knows those of its patches


SHARED = "folds share slides, expect about 0.03 less on others"


def test_folds_that_share_slides_are_told_beside_the_scores(run, other):
    add_slides(other)
    for folder, grouping in ((run, "patch"), (other, "slide")):
        entries = {"grouping": grouping, "estimate": SHARED if grouping == "patch" else ""}
        write_record(folder, {**read_run_json(folder), **entries})
    text = story_of(run, other)
    conclusion = text[text.index("## 5.") :]
    scores, comparison, note = (
        next(line for line in conclusion.split("\n") if words in line)
        for words in ("The AUC out of fold is", "the AUC of other is", "are grouped differently")
    )
    assert f"by patch: too narrow for other slides; {SHARED})" in scores
    assert "by slide: 3 slides" in comparison and SHARED in comparison
    assert f"({run.name} by patch, other by slide): folds by patch share slides" in note
    assert f"{run.name}: {SHARED}." in text and text.count(SHARED) == 5
    record = read_run_json(run)
    del record["estimate"]  # as the version before wrote it
    write_record(run, record)
    assert story_of(run, other).count(SHARED) == 5
    assert SHARED not in story_of(other)


def test_a_run_of_several_methods_tells_each_of_them(tmp_path):
    text = story_of(make_several(tmp_path / "several"))
    assert "3 methods are trained one after the other, on the same folds:\n\n- **midnight**" in text
    lines = {line[4 : line.index("**:")]: line for line in text.split("\n") if "**: " in line}
    assert list(lines) == ["midnight", "vit", "densenet"]
    assert lines["midnight"].endswith("from midnight-12k; 126 pixels; by logistic regression.")
    ending = "batches of 32, dihedral augmentation."
    assert "from dinov2-base; 126 pixels; 4 epochs, adamw" in lines["vit"]
    assert lines["vit"].endswith(f"{ending} **Left out**: see the warnings of the run.")
    assert "from ImageNet weights; 126 pixels; 5 epochs, adamw" in lines["densenet"]
    assert lines["densenet"].endswith(ending)
    assert "For each fold, one network of each method is trained on the other folds. Each" in text
    assert "the submission is the mean of the log-odds of midnight and densenet." in text
    assert "The network is" not in text and "folds, by logistic regression" not in text
    assert "- vit is left out: no weights here" in text and "Not trained: vit." in text
    assert "'best: densenet': {" in text and "'parameters': '7,039,553'" in text
    assert "The members of several" in text and "'+0.0100 (-0.0100 to +0.0200)'" in text
    for name in ("midnight", "densenet"):
        mapped = f"- The predictions of the networks of {name} are mapped (platt)"
        assert mapped in text and "is 0.061 before and 0.012 after" in text
    assert "in bins, after calibration (platt, cross-fitted)" in text
    assert "of midnight the AUC on training patches is 0.020 below that on validation" in text


def test_the_error_of_a_calibrated_run_is_that_of_its_mapped_predictions(run):
    record = read_run_json(run)
    assert "mapped" not in story_of(run)
    errors = {"before": {"ece": 0.061}, "after": {"ece": 0.012}, "maps": {"fold0_seed0": [1, 0]}}
    record["settings"] = {**record["settings"], "calibration": "platt"}
    write_record(run, {**record, "calibration": {**errors, "refused": None}})
    text = story_of(run)
    error = json.loads((run / "evaluation.json").read_text())["calibration"]["ece"]
    assert f"The expected calibration error is {error:.3f}, the mean difference between" in text
    assert "in bins, after calibration (platt" in text
    assert "after calibration (platt, cross-fitted)" in text
    assert "- The predictions of the networks are mapped (platt)" in text
    assert "calibration error is 0.061 before and 0.012 after" in text
    refused = {"before": {"ece": 0.061}, "after": None, "maps": None, "refused": "a slope of -1"}
    write_record(run, {**record, "calibration": refused})
    text = story_of(run)
    assert "- Calibration (platt) of the networks was not applied: a slope of -1." in text
    assert "after calibration" not in text


def test_a_run_without_history_and_with_missing_networks_is_told(run, other):
    text = story_of(other)
    assert "no `history.csv`" in text and "Learning curves" not in text
    assert "Not trained: fold 1 seed 1" in text
    assert "- no time for fold 1 seed 1" in text


def test_a_report_says_how_to_add_an_exploration(run, explored):
    text = story_of(run)
    assert f"To add an exploration of the patches: {EXPLORE}." in text
    assert f"To add the errors by color of stain: {EXPLORE}." in text
    text = story_of(run, explored)
    assert EXPLORE not in text and '"../eda/data_stains.png"' in text
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert sum(row["patches"] for row in evaluation["by_stain"]) == 60
    assert "Of the stains, stain" in text and "group of hue" not in text
    keep_interval(read_run(run, run))  # for another run's report
    assert json.loads((run / "evaluation.json").read_text()) == evaluation
    (run / "evaluation.json").write_text(json.dumps({**evaluation, "interval": [0, 0.1]}))
    keep_interval(read_run(run, run))
    written = json.loads((run / "evaluation.json").read_text())
    assert written["interval"] == evaluation["interval"]


def test_a_run_of_an_older_version_is_told(run):
    shutil.copy(make_old(run) / "oof.csv", run / "gradcam.png")
    text = story_of(run)
    assert "# Histopathologic Cancer Detection: seed_resnet34" in text
    assert "The network is course_resnet34." in text and "resnet34_seed" not in text
    assert text.count('The notebook\'s "ResNet34": its zip()') == 1
    assert "78% (no tumor) and 95% (tumor)" in text
    assert EXPLORE not in text  # it has both
    draw([read_run(run, run)])
    assert '"gradcam.png"' in text  # stays, since it cannot be drawn again
    assert (run / "gradcam.png").read_text().startswith("id,")
    assert "correlate by" in text  # from its networks, whose files are still read


def test_a_blend_is_told_as_a_run_is(run, other):
    blend = blend_runs([run, other], runs=run.parent, say=lambda line: None)
    text = story_of(blend, run)
    assert "A blend (mean) of 2 runs" in text and f"The members of {blend.name}" in text
    assert '"roc.png"' in text and "Test-time augmentation" not in text


def test_a_study_is_told_alone_and_beside_a_run(run):
    study = make_study(run.with_name("study"))
    for text in (story_of(study), story_of(run, study)):
        assert "validation AUC, 0.9100 (epochs 20). " in text and "variance" not in text
        assert "AUC of study is 0.9100, of 2 trials: not comparable with that of a run" in text
    assert "read('study', \"study.csv\")" in text and (study / "study.png").is_file()
    text = story_of(run, study, make_study(run.with_name("second")))
    known = re.findall(r"\*\*Figure (\d+)\.\*\*", text)
    assert known == [str(n) for n in range(1, len(known) + 1)]


def test_a_study_says_how_far_the_second_is_below(run):
    new = {"highest": 1, "highest_auc": 0.92, "num_patches": 1_234, "num_slides": None}
    new |= {"not_compared": [], "within_noise": []}
    second = {"trial": 0, "difference": 0.02, "num_patches": 1_234, "num_slides": None}
    studies = [
        make_study(run.with_name(f"study{number}"), **{**new, **change})
        for number, change in enumerate(
            (
                {"second": {**second, "interval": [-0.01, 0.03]}, "within_noise": [0]},
                {"second": {**second, "interval": [0.01, 0.03]}},
                {"second": None},
            )
        )
    ]
    (studies[2] / "study.csv").write_text("number,state,value\n0,FAIL,\n1,COMPLETE,0.92\n")
    texts = [story_of(study) for study in studies]
    assert ["biased upward" in text for text in texts] == [True, True, False]
    far = "Trial 0, the second, is below it by 0.0200 (95 % interval of the difference"
    assert f"{far} -0.0100 to +0.0300; 1,234 patches, by patch: too narrow" in texts[0]
    assert "slides): no more than the choice of these patches explains; other seeds" in texts[0]
    assert "No significant difference from it on these patches: trial 0." in texts[0]
    assert "no significant difference between its highest trial and 1 other on the" in texts[0]
    assert "slides): more than the choice of these patches explains; other seeds" in texts[1]
    assert "No other trial was completed." in texts[2]
    assert all("Trial 1 has the highest validation AUC, 0.9200" in text for text in texts)
    assert all("winner" not in text for text in texts)
    assert all("significant" not in text for text in texts[1:])
    old = story_of(make_study(run.with_name("old")))
    assert "Trial 1 has the highest" in old and "How far it is above the others is unknown." in old


def test_a_study_says_nothing_of_an_unknown_network_and_predicts_and_submits_nothing(run):
    study = make_study(run.with_name("study"))
    record = read_run_json(study)
    counts = {"train": 60, "positive": 20, "test": 16}
    record |= {"recipe": "scratch_study", "counts": counts}
    record["settings"] = {**record["settings"], "weights": "none"}
    del record["settings"]["architecture"]
    rows = ["number,state,value,epochs_trained", "0,COMPLETE,0.9,2", "1,COMPLETE,0.91,1"]
    (study / "study.csv").write_text("\n".join(rows))
    record["study"] |= {
        "num_patches": 20,
        "importance": {},
        "space": "{'epochs': (1, 2), 'batch_size': (8, 32)}",
    }
    write_record(study, record)
    text = story_of(study)
    assert (
        "This study used 60 labeled patches, all of those in its data folder. Of these, 20 (33"
        in text
    )
    assert "The network is" not in text and "The networks." not in text
    assert "The network starts from random weights. The study searches epochs and batch" in text
    assert "Each trial trains on all folds but fold 0, which scores it: adamw (Loshchilov" in text
    assert "Bergstra" not in text  # no range, so that all combinations are tried in order
    record["study"]["space"] = "{'learning_rate': Range(low=0.0001, high=0.01, log=True)}"
    write_record(study, record)
    text = story_of(study)
    assert "Bergstra" not in text  # proposes none of the first trials
    assert "predict" not in text.partition("## 2.")[0].partition("This study")[2]
    assert "A study submits nothing." in text and "build.py submit" not in text
    assert "fANOVA" not in text and "The study's trials." in text
    budget = ", each trained on 40 patches for up to 2 epochs"
    assert (
        f"2 trials on fold 0, drawn at random{budget}; 2 were completed." in text
        and f"highest AUC{budget}." in text
    )
    assert f"of 2 trials{budget}: not comparable" in text
    assert (study / "study.png").is_file()


def test_a_study_of_several_networks_names_them(run):
    study = make_study(run.with_name("study"))
    record = read_run_json(study)
    record["study"]["space"] = (
        "{'network': {'vgg16': {'architecture': 'vgg16', 'weights': 'imagenet'}, "
        "'my_vgg16': {'architecture': 'my_vgg16', 'weights': 'none'}}}"
    )
    write_record(study, record)
    text = story_of(study)
    assert "The study compares vgg16 and my_vgg16. The study searches network." in text
    assert "from ImageNet weights" not in text.partition("### The method")[2]
    assert re.search("'vgg16': .*?'starts from': 'ImageNet weights'.*?'my_vgg16'", text, re.S)
    assert "'my_vgg16': {'parameters'" in text


def test_a_study_of_heads_says_nothing_that_one_of_them_lacks(run):
    study = make_study(run.with_name("study"))
    record = read_run_json(study)
    record["settings"]["head"] = "logistic"
    record["study"]["space"] = "{'head': ('logistic', 'mlp')}"
    write_record(study, record)
    text = story_of(study)
    assert "The network is densenet121" in text and "It starts from ImageNet weights." in text
    assert "fold 0, which scores it: dihedral augmentation." in text


def test_only_a_pushed_run_is_told_to_be_submitted(run):
    advice = "To submit it: `python build.py submit`"
    text = story_of(run)
    assert "This run was not submitted." in text and "build.py submit" not in text
    pushed = {"service": "Kaggle", "recipe": "fast", "build_id": "0" * 10}
    (run / "push.json").write_text(json.dumps(pushed))
    assert advice in story_of(run)
    (run / "submit.json").write_text(json.dumps({"submission": 1}))
    text = story_of(run)
    assert "This run was submitted." in text and advice not in text


@pytest.mark.parametrize("score, gap", [("0.8500", "0.0500 below"), ("0.9221", "0.0221 above")])
def test_a_score_of_the_leaderboard_is_compared_and_not_explained(run, score, gap):
    scores = {"submission": 1, "public_score": score, "private_score": ""}
    (run / "submit.json").write_text(json.dumps(scores))
    sentence = f"- The score on the public leaderboard is {score}, {gap} the AUC out of fold."
    assert sentence in story_of(run).split("\n")


def test_the_author_s_words_are_kept_wherever_they_were_written(run):
    gather_words(run)
    path = run / "words.md"
    text = path.read_text("utf-8")
    assert [line[3:] for line in text.splitlines() if line[:3] == "## "] == list(SLOTS)
    words = "I chose it, because **it is small**.\n\n## Really\n\n- é"
    path.write_text(text.replace("## results\n", f"## results\n{words}\n"), "utf-8")
    kept = gather_words(run)
    assert kept["results"] == words
    runs = [read_run(run, run)]
    notebook = build_notebook(tell(runs, draw(runs), kept, None).cells)

    # As Jupyter saves it.
    (cell,) = [c for c in notebook.cells if c.metadata.get("pcam_slot") == "problem"]
    assert "Your words (problem)" in cell.source
    cell.source = "Cancer is a problem."
    nbformat.write(notebook, run / "report.ipynb")
    kept = gather_words(run)
    assert kept["results"] == words and kept["problem"] == "Cancer is a problem."
    assert parse_words(path.read_text("utf-8")) == kept

    path.write_text(path.read_text("utf-8").replace("Cancer is", "This is"), "utf-8")
    with pytest.raises(ValueError, match="'problem' to be changed in one of them"):
        gather_words(run)
    assert "This is a problem" in path.read_text("utf-8")


def test_words_become_a_part_of_the_page(run):
    gather_words(run)
    text = (run / "words.md").read_text("utf-8")
    words = "## results\n**it is small**\n\n## Really\n"
    (run / "words.md").write_text(text.replace("## results\n", words), "utf-8")
    write_report([run], say=lambda line: None)
    page = (run / "report.html").read_text("utf-8")
    assert "<strong>it is small</strong>" in page and ">Really<" in page


def test_runs_of_different_competitions_are_refused(run, other):
    rows = pd.read_csv(other / "submission.csv")
    rows["id"] = ["f" * 40, *rows["id"][1:]]
    rows.to_csv(other / "submission.csv", index=False)
    with pytest.raises(ValueError, match=r"runs of one competition.*15 in common. Try: train "):
        story_of(run, other)


def draw_patches(folder, num_images):
    """Say that a run or an exploration has patches drawn at random."""
    record = read_run_json(folder)
    record["settings"] = {**record.get("settings", {}), "num_images": num_images}
    write_record(folder, record)


def test_an_exploration_of_other_patches_is_refused(run, explored):
    patches = pd.read_csv(explored / "patches.csv")
    refused = r"eda and .*: expected an exploration of the patches of the run"

    def check(rows):
        rows.to_csv(explored / "patches.csv", index=False)
        check_runs([read_run(run, run), read_run(explored, run)])

    check(patches)
    more = patches.assign(id=[f"{n:040x}" for n in range(900, 960)])
    check(pd.concat([patches, more]))  # the run may have left some out
    others = pd.concat([patches[30:], more])
    with pytest.raises(ValueError, match=rf"{refused}.*90 patches, of which 30 are among the 60"):
        check(others)
    with pytest.raises(ValueError, match=rf"{refused}.*60 of them with another label"):
        check(patches.assign(label=1 - patches["label"]))
    draw_patches(explored, 90)
    check(others)
    with pytest.raises(ValueError, match=rf"{refused}.*of which 0 are among"):
        check(more)
    draw_patches(run, 60)
    check(more)  # two draws need not have patches in common
    with pytest.raises(ValueError, match="another label"):
        check(others.assign(label=1 - others["label"]))


def test_a_study_of_other_data_is_refused(run, explored):
    study = make_study(run.with_name("study"))
    record = read_run_json(study)
    counts = {"train": 60, "positive": 20, "test": 16}
    for folder, others in ((run, [run, study]), (explored, [study, explored])):
        own = read_run_json(folder)
        write_record(folder, {**own, "counts": counts})
        write_record(study, {**record, "counts": {**counts, "positive": 21}})
        with pytest.raises(ValueError, match=r"study and .*: expected a study of the data.* 21 wi"):
            check_runs([read_run(other, others[0]) for other in others])
        write_record(study, {**record, "counts": counts})
        check_runs([read_run(other, others[0]) for other in others])
    write_record(explored, {**own, "counts": {**counts, "train": 90}})
    settings = {**record["settings"], "num_images": 60}
    write_record(study, {**record, "counts": counts, "settings": settings})
    assert "drawn at random (the setting num_images is 60)" in story_of(study, explored)
    draw_patches(run, 60)
    assert "drawn at random from the 90 in its folder of data" in story_of(run, explored)


@pytest.mark.parametrize(
    "remove, message",
    [
        ("run.json", r"expected a finished run, blend, study or exploration, with run"),
        ("oof.csv", r"oof\.csv is not there"),
    ],
)
def test_an_unfinished_run_is_refused(run, remove, message):
    (run / remove).unlink()
    with pytest.raises(ValueError, match=message):
        story_of(run)


def test_an_exploration_is_refused_as_the_first(run, explored):
    with pytest.raises(ValueError, match=r"eda is an exploration.*name one before eda"):
        story_of(explored, run)


def test_a_run_given_twice_is_refused(run):
    with pytest.raises(ValueError, match="each run once"):
        story_of(run, run)


def test_a_notebook_that_fails_leaves_the_report_as_it_was(run, monkeypatch):
    (run / "report.html").write_text("before")
    story = Story({})
    story.code("1 / 0")
    monkeypatch.setattr(writer, "tell", lambda *arguments: story)
    with pytest.raises(ValueError, match="notebook failed.*ZeroDivisionError"):
        write_report([run], say=lambda line: None)
    assert (run / "report.html").read_text() == "before"
    assert not (run / "report.ipynb").exists()


def test_reporting_loads_no_framework_and_no_client():
    code = (
        "import sys, kernel.report.writer, kernel.facts.measurements\n"
        "print(*{'keras', 'tensorflow', 'jax', 'kaggle', 'optuna'} & set(sys.modules))"
    )
    result = run_python(["-c", code])
    assert result.returncode == 0 and not result.stdout.strip(), result.stdout


@pytest.mark.parametrize(
    "origin, expected",
    [
        ("git@github.com:me/pcam.git", "https://github.com/me/pcam"),
        ("ssh://git@github.com/me/pcam", "https://github.com/me/pcam"),
        ("https://me:ghp_secret@github.com/me/pcam.git", "https://github.com/me/pcam"),
        ("https://github.com/me/pcam", "https://github.com/me/pcam"),
        ("/home/me/pcam", None),
        ("", None),
    ],
)
def test_the_repository_s_address_is_a_page_without_passwords(tmp_path, origin, expected):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    if origin:
        command = ["git", "-C", tmp_path, "remote", "add", "origin", origin]
        subprocess.run(command, check=True)
    assert find_repository(tmp_path) == expected
    (tmp_path / "own").mkdir()
    assert find_repository(tmp_path / "own") is None  # the repository around it may be anybody's
    subprocess.run(["git", "init", "-q", tmp_path / "own"], check=True)
    assert find_repository(tmp_path / "own") is None  # until it has an origin
    command = ["git", "-C", tmp_path / "own", "remote", "add", "origin", "git@example.org:my/own"]
    subprocess.run(command, check=True)
    assert find_repository(tmp_path / "own") == "https://example.org/my/own"
