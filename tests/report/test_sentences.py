"""Sentences of the report follow from numbers: runs that contradict them change them."""

import ast
import csv
import dataclasses
import re
import types
from pathlib import Path

import pandas as pd
import pytest
from report_runs import SETTINGS, make_run

from kernel.bundle.recipes import list_recipes, read_recipe
from kernel.facts.networks import load_networks, load_stages
from kernel.facts.references import REFERENCES, list_cited
from kernel.report import architectures
from kernel.report import names as report_names
from kernel.report.architectures import describe_gates, describe_view, tell_code, tell_network
from kernel.report.assessment import Assessment, assess_run, read_members
from kernel.report.checks import escape
from kernel.report.comparisons import (
    STARTUP_TRIALS,
    describe_changes,
    describe_difference,
    describe_sampling,
    judge,
    judge_run,
    list_changes,
)
from kernel.report.conclusion import (
    conclude_comparison,
    conclude_run,
    conclude_study,
    conclude_training,
    list_limits,
    list_steps,
)
from kernel.report.data_sections import describe_size
from kernel.report.diagrams import plot_stages
from kernel.report.learning_charts import describe_curves
from kernel.report.methods import describe_fit, describe_method, describe_prediction
from kernel.report.names import name_runs, name_setting, name_trials
from kernel.report.networks import list_networks, make_rows, measure_cost
from kernel.report.plans import describe_cleaning, plan_colors, plan_labels, plan_patches
from kernel.report.reading import ReportRun, read_run
from kernel.report.results import tell_gains, tell_training
from kernel.report.settings_table import tell_settings
from kernel.report.spaces import parse_space
from kernel.report.story import SLOTS, Story
from kernel.report.submission import name_board
from pcam_kaggle.analysis import scores
from pcam_kaggle.analysis.scores import Comparison
from pcam_kaggle.system.records import load_member, save_member
from pcam_kaggle.system.settings import name_settings


def make(record=None, **parts):
    """A run as the report reads it, in a folder that is not there."""
    fields = dict.fromkeys(field.name for field in dataclasses.fields(ReportRun))
    record = {"recipe": "fast", "settings": SETTINGS, **(record or {})}
    fields |= {"name": "run", "place": ".", "record": record, "scores": {}, "service": ""}
    fields |= dict.fromkeys(("folder", "made"), Path("run"))
    return ReportRun(**{**fields, **parts})


def explored(**found):
    """An exploration of 60 patches, 20 with tumor."""
    known = {
        "labels": {"0": 40, "1": 20},
        "positive_share": 1 / 3,
        "brightness": {"no tumor": 200.0, "tumor": 170.0},
        "tissue": {"no tumor": 0.5, "tumor": 0.9},
        "blank": {"white": {"patches": 0}},
        "duplicates": {"exact_pairs": 0, "near_pairs": 0, "label_conflicts": 0},
        "stains": [],
    }
    record = {"recipe": "explore", "settings": {"num_images": 0}, "counts": {"train": 60}}
    return make(record, exploration={**known, **found})


def story():
    return Story(dict.fromkeys(SLOTS, ""))


@pytest.mark.parametrize(
    "num_images, train, other, expected",
    [
        (0, 60, None, "used 60 labeled patches, all of those in its data folder."),
        (0, 220_025, None, "used all 220,025 labeled patches."),
        (20, 20, None, "used 20 labeled patches, drawn at random (the setting num_images is 20)."),
        (20, 20, explored(), "used 20 labeled patches, drawn at random from the 60 in its folder"),
    ],
)
def test_the_size_of_the_data_says_both_numbers_of_a_subset(num_images, train, other, expected):
    counts = {"train": train, "positive": 10, "test": 16}
    run = make({"settings": {"num_images": num_images}, "counts": counts}, oof=pd.DataFrame())
    text = describe_size(run, other)
    assert expected in text and "It predicted 16 test patches." in text


def test_a_second_stage_is_named_by_the_build_it_starts_from():
    text = describe_method(make({"settings": {**SETTINGS, "weights": "0123456789"}}))
    assert "from the network of the same fold, as a second stage of build 0123456789." in text


def test_the_plan_follows_from_the_patches():
    balanced = [*plan_labels(story(), make(), explored(positive_share=0.48))]
    assert "nearly balanced (48.0% tumor)" in balanced[0] and "'no tumor'" in balanced[0]
    positive = [*plan_labels(story(), make(), explored(positive_share=0.7))]
    assert "not balanced (70.0% tumor)" in positive[0] and "'tumor'" in positive[0]
    patches = pd.DataFrame(
        {"label": [0, 0, 1, 1], "brightness": [9, 8, 1, 2], "tissue": [1, 2, 1, 2]}
    )
    dark = dataclasses.replace(explored(), patches=patches)
    for auc, verdict in ((0.9, "0.900, is not above it."), (None, "explored, a baseline.")):
        text = [*plan_labels(story(), make({"oof_auc": auc}), dark)][1]
        assert text.startswith(
            "The mean brightness of a patch alone, less as tumor, reaches an AUC"
        )
        assert "AUC of 1.000" in text and text.endswith(verdict)

    assert not [*plan_patches(make(), explored())]
    copies = {"exact_pairs": 1, "near_pairs": 0, "label_conflicts": 0}
    blank = {"black": {"patches": 2}, "white": {"patches": 0}, "near-empty": {"patches": 9}}
    found = explored(duplicates=copies, blank=blank, test={"brightness": 180.0})
    (pairs, black, light) = plan_patches(make(), found)
    assert pairs.startswith("1 pair of duplicates or near-duplicates may")
    assert pairs.endswith(
        "this run keeps such patches; its recipe has no setting to leave them out."
    )
    assert black.startswith("2 black patches show no tissue: this run keeps such patches")
    one = {"black": {"patches": 1}}
    (_, black, _) = plan_patches(
        make(), dataclasses.replace(found, exploration=found.exploration | {"blank": one})
    )
    assert black.startswith("1 black patch shows no tissue")
    assert light.startswith("The test patches are on average 10.0 gray levels (of 256) darker")
    assert light.endswith("does not vary the brightness in training.")
    for brightness, compared in ((0.1, "by up to 25.5 (brightness=0.1), more than"), (0.01, "not")):
        settings = {"clean": ["duplicates"], "brightness": brightness}
        (pairs, black, light) = plan_patches(make({"settings": settings}), found)
        assert pairs.endswith("this run leaves such patches out (clean=duplicates).")
        assert black.endswith("this run keeps such patches (clean=blank would leave them out).")
        assert compared in light

    stains = [{"patches": 9, "positive_share": share} for share in (0.2, 0.5)]
    drawn = make({"settings": {**SETTINGS, "num_images": 20}})
    found = dataclasses.replace(found, exploration=found.exploration | {"stains": stains})
    lines = [*plan_labels(story(), drawn, found), *[*plan_patches(drawn, found)][:2]]
    lines += plan_colors(story(), drawn, found)
    for line, text in zip(lines, ("the classes", "1 pair", "2 black", "stains 1"), strict=True):
        assert line.startswith(f"Among the 60 patches explored, {text}")
    plain, varied = make(place="."), make({"settings": {"stain_jitter": 0.1}})
    for run, text in ((plain, "does not vary the colors"), (varied, "(stain_jitter=0.1)")):
        (line,) = plan_colors(story(), run, explored(stains=stains))
        assert line.startswith("Stains 1 and 2 contain 20.0% and 50.0% tumor") and text in line
    space = {"stain_jitter": {}, "brightness": {"0.1": {"brightness": 0.1}}}
    varied = make(
        {"settings": {"stain_jitter": 0.0, "brightness": 0.0}, "study": {"space": space}},
        study=pd.DataFrame(),
    )
    (line,) = plan_colors(story(), varied, explored(stains=stains))
    assert "this study varies the colors in training (brightness=0.1) and searches how much" in line
    assert "(stain_jitter)" in line
    assert (
        "this study varies the brightness in training by up to 25.5"
        in [*plan_patches(varied, found)][2]
    )
    varied.record["study"]["space"] = {"brightness": {}}
    assert "this study searches how much to vary the bri" in [*plan_patches(varied, found)][2]
    assert not [*plan_colors(story(), plain, explored(stains=stains[:1]))]


def test_cleaning_is_said_of_runs_that_train():
    assert describe_cleaning(make({"settings": {}, "method": "mean"})) == ""
    assert describe_cleaning(make()) == "No training patch was left out."
    drawn = make({"settings": {"num_images": 5}})
    assert describe_cleaning(drawn) == "None of the drawn training patches was left out."
    cleaned = make({"cleaned": {"blank": ["a", "b"], "duplicates": []}})
    assert describe_cleaning(cleaned) == "Left out of training: 2 (blank)."


def test_what_a_network_sees_depends_on_its_input():
    def view(**settings):
        (network,) = list_networks([make({"settings": {**SETTINGS, **settings}})])
        return describe_view(network)

    given = "Of a patch, it gets"
    whole = view()
    assert whole.startswith(f"{given} all 96x96 pixels. At stride 4, a unit's receptive field is")
    assert ": wider than the 32-pixel center that decides; in the last stage it is 2,071" in whole
    assert "cover" not in whole and whole.endswith(
        "The effective field is smaller (Luo et al. 2016)."
    )
    enlarged = view(input_size=192)
    assert enlarged.startswith(f"{given} all 96x96 pixels, resized to 192x192. At stride 8,")
    assert "is 128 pixels wide, on the patch's scale" in enlarged
    cropped = view(architecture="small_cnn", crop_size=64)
    assert cropped.startswith(f"{given} the central 64x64 pixels, resized to 96x96. At stride 16")
    assert "is 53 pixels wide, on the patch's scale" in cropped and "stage" not in cropped
    cropped = view(architecture="small_cnn", crop_size=80, input_size=80)
    assert cropped.startswith(f"{given} the central 80x80 pixels. At stride 8")
    assert "; in the last stage it is 79 pixels wide. The" in cropped
    narrow = view(architecture="small_cnn", crop_size=32)
    assert "is 26 pixels wide, on" in narrow and ": not wider than the 32-pixel" in narrow
    other = make({"num_parameters": 5})
    (network,) = list_networks([other])
    assert describe_view(network).startswith("The run counted 5 parameters") and not network.stages
    assert all(name in load_stages() or name in ("midnight", "vit") for name in load_networks())
    for name, stages in load_stages().items():
        assert sum(stage.num_parameters for stage in stages) == load_networks()[name].num_parameters


@pytest.mark.parametrize(
    "name, weights, expected, absent",
    [
        ("vgg16", "imagenet", "describe edges and textures", "stay random"),
        ("vgg16", "none", "frozen blocks 1 to 4 stay random", "ImageNet"),
        ("vgg16", "/some/own.h5", "It starts from the weights in own.h5.", "ImageNet"),
        ("my_vgg16", "none", "starts from random weights, with nothing from", "ImageNet"),
        ("my_vgg16", "own.h5", "from the weights in own.h5.", "starts from random"),
        ("vit", "hf://histai/hibou-b", "from hibou-b (DINOv2 ViT-B/14, 4 registers,", "142 mil"),
        ("vit", "dinov2-base", "trained without labels on: natural images (LVD-142M).", "slides"),
        ("midnight", "hibou-b", "without labels on: over 1 million slides, not pub", "TCGA"),
        ("midnight", "midnight-12k", "1.1 billion parameters), trained without labels on: T", "!"),
        ("midnight", "/some/folder", "The weights of its transformer come from folder.", "TCGA"),
        ("densenet121", "", "a GPU less busy than a few wide ones.", "weights come"),
    ],
)
def test_what_a_network_learned_before_depends_on_its_weights(
    tmp_path, name, weights, expected, absent
):
    settings = escape({**SETTINGS, "architecture": name, "weights": weights})
    run, told = make({"settings": settings}, folder=tmp_path), story()
    (network,) = list_networks([run])
    tell_network(told, run, network, set())
    assert expected in told.cells[0].source and absent not in told.cells[0].source


def test_gates_are_told_and_depthwise_convolutions_are_named_as_such():
    stages = load_stages()
    heads = "global average pooling, global max pooling, 1 dense", "flattening, 2 dense"
    for name, head in zip(("small_cnn", "vgg16"), heads):
        assert stages[name][-1].layers.startswith(head)
    gated = {name for name, found in stages.items() if describe_gates(found)}
    assert gated == {"efficientnetv2b0", "efficientnetv2s"}
    assert "3 depthwise convolutions 7x7" in stages["convnext_tiny"][0].layers
    assert stages["efficientnetv2b0"][-2].layers == (
        "8 depthwise convolutions 3x3, 8 squeeze-and-excitation gates, 16 convolutions 1x1"
    )


def test_a_diagram_says_whether_the_field_is_wider_than_the_center(tmp_path, monkeypatch):
    titles = []
    draw = plot_stages.__globals__["draw_figure"]

    def note(path, title, height):
        titles.append(title)
        return draw(path, title, height)

    monkeypatch.setitem(plot_stages.__globals__, "draw_figure", note)
    stages = load_stages()["small_cnn"]
    plot_stages("small_cnn", stages, 96, 96, tmp_path / "one.png")
    plot_stages("small_cnn", stages, 48, 192, tmp_path / "two.png")
    assert [re.search("is ((not )?wider)", title)[1] for title in titles] == ["wider", "not wider"]


def test_costs_are_those_of_the_run():
    stages = {"train": {"seconds": 90.0, "images": 900, "images_per_second": 10.0}}
    alone = make({"stages": stages})
    assert measure_cost(alone, "densenet121")["training images/s"] == "10"
    several = make({"stages": stages, "settings": {**SETTINGS, "members": ["vit"]}})
    assert measure_cost(several, "vit") == {}
    trials = pd.DataFrame({"seconds": [10.0, 90.0], "epochs_trained": [1, 3]})
    space = {"network": {n: {"architecture": n} for n in ("vgg16", "my_vgg16")}}
    study = make({"study": {"space": space}}, study=trials.assign(network=["vgg16", "my_vgg16"]))
    assert {n: row["seconds an epoch"] for n, row in make_rows(study).items()} == {
        "my_vgg16": "30.0",
        "vgg16": "10.0",
    }


def test_the_code_of_a_network_is_that_of_the_page(monkeypatch):
    page = "# %% models/pretrained.py\nx = '````'\n\n# %% Run\nmain()\n"
    told = story()
    (network,) = list_networks([make()])
    monkeypatch.setattr(architectures, "find_page", lambda run: page)
    tell_code(told, network, set())
    assert [cell.source for cell in told.cells] == [
        "`models/pretrained.py`, as it ran:\n\n`````python\nx = '````'\n`````"
    ]
    monkeypatch.setattr(architectures, "find_page", lambda run: "")
    tell_code(told, network, set())
    assert "is not shown" in told.cells[-1].source


def test_settings_of_methods_that_a_run_does_not_have_are_not_listed():
    settings = {"members": ["densenet"], "midnight.input_size": 98, "densenet.input_size": 98}
    settings |= {"tuning.epochs": 9, "training.epochs": 9, "max_hours": 3.0, "folds": [0, 2]}
    told = story()
    tell_settings(told, make({"recipe": "best", "settings": settings}))
    text = told.cells[-1].source
    assert "'densenet.input_size'" in text and "'training.epochs'" in text
    assert "midnight" not in text and "tuning" not in text and "max_hours" not in text
    found = {"pd": pd, "run": {"settings": settings}}
    exec(text.partition("\nshow_table")[0], found)
    assert found["table"]["value"]["trained folds"] == "fold 0, fold 2"


@pytest.mark.parametrize(
    "interval, verdict",
    [((0.01, 0.02), "helped"), ((-0.02, -0.01), "cost AUC"), ((-0.01, 0.02), "no significant")],
)
def test_a_change_helped_only_where_its_interval_says_so(interval, verdict):
    assert judge(interval).startswith(verdict)


@pytest.mark.parametrize(
    "record, verdict",
    [
        ({"settings": {**SETTINGS, "epochs": 9}}, "helped"),
        ({}, "a significant difference: no setting was changed"),
        ({"device": "gpu"}, "a significant difference: no setting was changed, but the device"),
        ({"edited": True}, "a significant difference: no setting was changed, but the code"),
        (
            {"settings": {**SETTINGS, "epochs": 9}, "code": "1"},
            "helped, with changes of 1 setting and the code",
        ),
        (
            {"settings": {**SETTINGS, "epochs": 9, "clean": []}, "recipe": "a"},
            "helped, with changes of 1 setting and the rec",
        ),
        ({"recipe": "a"}, "helped, with changes of the recipe: no single"),
        ({"settings": {"epochs": 3}}, f"helped, with changes of {len(SETTINGS) - 1} settings: no"),
        ({"settings": {}, "recipe": ""}, "helped"),
    ],
)
def test_a_cause_is_named_only_where_one_setting_alone_differs(record, verdict):
    told = judge_run(make(record), make(), (0.01, 0.02))
    assert told == verdict if verdict == "helped" else told.startswith(verdict)
    assert judge_run(make(record), make(), (-0.01, 0.02)) == "no significant difference"


def test_a_change_is_named_by_its_settings():
    other = make({"settings": {**SETTINGS, "epochs": 9}}, name="other")
    assert describe_difference(other, make()) == "other (epochs: 3 to 9)"
    assert describe_difference(make(), make()) == "run (the same settings)"
    many = make({"settings": {name: f"{value}x" for name, value in SETTINGS.items()}})
    assert re.search(r"; \d+ more\)$", describe_difference(many, make()))
    settings = {"num_folds": 3, "folds": [0], "tta": "flip", "stain_jitter": 0.1, "epochs": 9}
    other = make({"settings": {**SETTINGS, **settings, "architecture": "wide_cnn"}}, name="other")
    first = "other (network: densenet121 to wide_cnn, epochs: 3 to 9, "
    assert describe_difference(other, make()).startswith(first)
    other = make({"settings": {**SETTINGS, "epochs": 9}})
    assert len(list_changes(other, make())) == 1 < len(list_changes(many, make()))


def test_runs_and_settings_have_names_that_people_read():
    wide = {"settings": {**SETTINGS, "architecture": "wide_cnn", "num_images": 600}}
    runs = [make(name="a"), make(wide, name="b"), make({"recipe": "fast_study"}, name="c")]
    runs += [make({"recipe": "", "members": ["a", "x"]}, name="d"), make(wide, name="e")]
    names = [run.name for run in name_runs(runs)]
    many = "fast, network wide_cnn, patches 600"
    assert names[1:] == [f"{many} (1)", "fast study", "blend", f"{many} (2)"]
    assert names[0] == "fast, network densenet121, patches all"
    assert name_runs(runs)[3].record["members"] == [names[0], "x"]
    assert name_setting("densenet.num_folds") == "densenet: folds"
    assert [name_trials(numbers) for numbers in ([3], [0, 2], [0, 1, 2])] == [
        "trial 3",
        "trials 0 and 2",
        "trials 0, 1 and 2",
    ]
    settings = {"folds": [0], "clean": []}
    assert report_names.name_settings(settings) == "fold 0 only, cleaning none"
    assert report_names.name_settings({"folds": [], "tta": "flip"}).startswith("trained folds all")
    assert report_names.name_value("folds", [0, 1]) == "folds 0 and 1 only"
    for recipe in list_recipes():
        parts = read_recipe(recipe).parts
        words = [name_setting(name) for name in name_settings(parts)]
        assert len(set(words)) == len(words), recipe


@pytest.mark.parametrize(
    "count, share, is_told", [(20, 0.6, True), (19, 0.6, False), (20, 0.5, False)]
)
def test_what_matters_in_a_study_is_told_of_enough_trials_alone(count, share, is_told):
    study = {"importance": {"epochs": share, "batch_size": 1 - share}, "highest_auc": 0.9}
    states = ["COMPLETE"] * count + ["PRUNED"] * 9
    run = make({"study": study}, study=pd.DataFrame({"state": states}))
    assert ("epochs explains most" in "".join(conclude_study(story(), run))) == is_told
    assert bool(run.importance) == (count == 20)


@pytest.mark.parametrize(
    "count, own, expected",
    [
        (1, 0.001, ", with the recipe's own settings"),
        (3, 0.001, ", the first with the recipe's own settings, the others drawn at random"),
        (5, 0.002, ", drawn at random"),
        (6, 0.002, ", drawn at random until 5 had finished, then proposed by Optuna's TPE (Bergs"),
    ],
)
def test_tpe_proposes_only_after_the_random_trials(count, own, expected):
    settings = {**SETTINGS, "learning_rate": own}
    record = {"study": {"space": {"learning_rate": {}}}, "settings": settings}
    trials = pd.DataFrame({"state": ["COMPLETE"] * count, "learning_rate": 0.001})
    told = describe_sampling(make(record, study=trials))
    assert told.startswith(expected) and ("TPE" in told) == ("TPE" in expected)
    failed = trials.assign(state="FAIL")
    assert "TPE" not in describe_sampling(make(record, study=failed))
    record["study"]["space"]["epochs"] = {}
    if own == 0.001:
        told = describe_sampling(make(record, study=trials))
        assert "with the recipe's own learning rate" in told
    source = (Path(scores.__file__).parents[1] / "training" / "trials.py").read_text("utf-8")
    assert f"STARTUP_TRIALS = {STARTUP_TRIALS} " in source


def test_each_run_s_training_is_told_and_the_last_epochs_of_several_networks(tmp_path):
    told = story()
    rows = {"fold": [0, 0], "seed": [0, 0], "epoch": [1, 2]}
    for name, folds in (("one", [0, 0]), ("two", [0, 1])):
        history = pd.DataFrame({**rows, "fold": folds})
        tell_training(told, make(name=name, folder=tmp_path, history=history))
    assert [*told.tables] == ["log of one", "log of two", "epochs of two"]
    assert "read('two', \"history.csv\")" in told.cells[-2].source


@pytest.mark.parametrize(
    "one_view, seeds, without",
    [
        (0.8, (), "test-time augmentation"),
        (0.9, (0.8, 0.7), "further seeds"),
        (None, (), None),
        (0.8, (0.8, 0.7), "test-time augmentation and without further seeds"),
    ],
)
def test_the_gains_are_of_what_a_run_has(one_view, seeds, without):
    told, evaluation = story(), types.SimpleNamespace(auc=0.9)
    tell_gains(told, Assessment(evaluation, auc_one_view=one_view, seed_aucs=seeds))
    shown = "".join(cell.source for cell in told.cells).replace('"\n    "', "")
    assert ("Table 1." in shown) == (without is not None)
    assert without is None or f"The AUC out of fold without {without}, and as submitted." in shown


@pytest.mark.parametrize(
    "tta, maps, has_views",
    [("flip", None, True), ("none", None, False), ("flip", {"a": [1]}, False)],
)
def test_what_calibration_changes_is_no_gain_of_views_or_seeds(tmp_path, tta, maps, has_views):
    folder = make_run(tmp_path / "run")
    for number in (0, 1):  # a second network for each fold, of the same predictions
        path = folder / "folds" / f"fold{number}_seed{number}.npz"
        member = dataclasses.replace(load_member(path), seed=number + 2)
        save_member(path.with_name(f"fold{number}_seed{number + 2}.npz"), member, "f" * 10)
    members, run = read_members(make(folder=folder)), read_run(folder, folder)
    run.oof["prediction"] = run.oof["prediction"] ** (1 + run.oof["fold"])  # mapped by fold
    record = {"settings": {**SETTINGS, "tta": tta}, "calibration": {"maps": maps}}
    found = assess_run(dataclasses.replace(run, record={**run.record, **record}), members, None)
    assert (found.auc_one_view is not None) == (found.views is not None) == has_views
    told = story()
    tell_gains(told, found)
    shown = "".join(cell.source for cell in told.cells).replace('"\n    "', "")
    assert ("before calibration" in shown) == (maps is not None)
    assert found.auc_networks == (found.seed_aucs[0] if maps else found.evaluation.auc)
    assert found.seed_aucs[0] != found.evaluation.auc
    changes = "".join(describe_changes(told, [run], found, {}))
    assert ("Test-time" in changes) == has_views and ("+0.0000 AUC" in changes) == bool(maps)


@pytest.mark.parametrize(
    "aucs, expected",
    [
        ([0.7, 0.8, 0.9], "Train for more than 3 epochs: the "),
        ([0.9, 0.8, 0.7], "Train for fewer epochs or stop early: the "),
        ([0.8, 0.9004, 0.9], None),  # within what single epochs differ by
        ([0.9], None),
    ],
)
def test_the_next_step_says_what_the_title_of_the_curves_says(aucs, expected):
    columns = {"val_auc": aucs, "auc": 0.7, "fold": 0, "seed": 0}
    history = pd.DataFrame({**columns, "epoch": range(1, len(aucs) + 1)})
    record = {"settings": {"num_folds": 1}, "fold_auc": {"0": 0.9}}  # without its epochs
    steps = [*list_steps(story(), make(record, history=history), None)]
    title = describe_curves(history)
    assert steps == ([f"{expected}v{title[1:]}."] if expected else [])
    overfitted = make(record, history=history.assign(auc=0.99))
    steps = "".join(list_steps(story(), overfitted, None))
    assert ("Augment or regularize more" in steps) == (len(aucs) > 1)
    untrained = make(record, history=history.assign(auc=0.9, val_auc=0.5))
    assert "Augment" not in "".join(list_steps(story(), untrained, None))
    logistic = make({"settings": {"head": "logistic"}}, history=history)
    assert not [*list_steps(story(), logistic, None)]


@pytest.mark.parametrize(
    "auc, augmentation, expected",
    [
        (0.95, "none", ["the AUC on training patches is 0.050 above that on validation patches."]),
        (
            0.88,
            "flip",
            ["the AUC on augmented training patches is 0.020 below that on validation patches."],
        ),
        (0.9004, "none", ["the AUC on training patches is to 3 digits equal to that on val"]),
        (float("nan"), "none", []),
    ],
)
def test_the_gap_of_training_is_told_without_a_verdict(auc, augmentation, expected):
    rows = pd.DataFrame({"fold": [0], "seed": [0], "auc": [auc], "val_auc": [0.9]})
    told = [*conclude_training(story(), "", rows, {"augmentation": augmentation})]
    assert len(told) == len(expected)
    assert all(t.startswith(f"In the last epoch {text}") for t, text in zip(told, expected))


@pytest.mark.parametrize(
    "difference, side",
    [(0.02, "0.0200 above"), (-0.02, "0.0200 below"), (-0.00001, "to 4 digits equal to")],
)
def test_a_difference_of_zero_is_no_side(difference, side):
    found = Comparison(difference, (-0.03, 0.03), 60, None)
    (line,) = conclude_comparison(story(), [make(), make(name="b")], {"b": found})
    assert f"the AUC of b is {side} that of run (95 % interval of" in line
    board = make({"oof_auc": 0.9}, scores={"public_score": str(round(0.9 + difference, 5))})
    (line,) = conclude_run(story(), board)
    assert line.endswith(f", {side} the AUC out of fold.")


def test_a_study_searches_what_has_more_than_one_choice():
    text = (
        "{'network': {'my_vgg16': {'architecture': 'my_vgg16', 'weights': 'none', "
        "'learning_rate': 0.001}, 'net': {'architecture': 'course_resnet34', 'weights': 'none', "
        "'learning_rate': 0.01}}, 'batch_size': (96,), 'epochs': [4, 8], 'dropout_rate': "
        "Range(low=0.0, high=0.5, log=False)}"
    )
    space = parse_space(text, Path("run.json"))
    study = make({"study": {"space": space, "fold": 0}}, study=pd.DataFrame())
    told = describe_method(study)
    assert told.startswith("The study compares my_vgg16 and course_resnet34. The network starts")
    assert "random weights. The study searches network, epochs and dropout rate." in told
    assert "adamw (Loshchilov & Hutter 2019, cosine schedule), batches of 96" in told
    rates = {shown.name: shown.settings["learning_rate"] for shown in list_networks([study])}
    assert rates == {"my_vgg16": 0.001, "course_resnet34": 0.01}
    study.record["study"]["space"] = parse_space(f"{text[:-1]}, 'network': ('a',)}}", Path())
    assert describe_method(study).startswith("The network is densenet121.")
    study = make({"recipe": "demo_study", "settings": {"num_folds": 3}}, study=pd.DataFrame())
    assert describe_method(study).startswith("The network is small_cnn.")  # that of its recipe
    study.record["recipe"] = "scratch_study"
    assert describe_method(study).startswith("All labeled")  # that has several


@pytest.mark.parametrize(
    "text",
    ["", "5", "{'a': 5}", "{**b}", "{'a': open('b')", "{'a': b}", "(" * 999, "{'a': (b'',)}"],
)
def test_a_search_space_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match="run.json: expected 'study.space' with choices"):
        parse_space(text, Path("run.json"))
    with pytest.raises(ValueError, match="epochs.*Try: the file as the run wrote it"):
        parse_space("{'epochs': ('many',)}", Path("run.json"))


def test_the_prediction_of_one_network_is_no_mean():
    one = describe_prediction({"num_folds": 5, "folds": [0], "tta": "flip", "labels": "hard"})
    assert one.endswith("in 4 flipped views, for the submission, as hard labels (tumor above 0.5).")
    for settings in ({"num_folds": 5}, {"num_folds": 5, "folds": [0], "num_seeds": 2}):
        assert "the mean of their predictions" in describe_prediction(settings)


def test_a_fit_without_augmentation_is_told_as_such():
    assert describe_fit({"epochs": 1, "augmentation": "none"}) == "1 epoch, no augmentation"


def test_limits_and_boards_are_those_of_the_run():
    settings = {"num_folds": 5, "num_seeds": 1, "num_images": 12_000}
    run = make(
        {"settings": settings, "fold_auc": {"0": 0.9}, "edited": True},
        scores={"public_score": "0.9"},
        service="sandbox",
    )
    limits = "\n".join(list_limits(run, None))
    drawn = "Of all patches, 12,000 were drawn; a network learned from about 9,600 of them."
    for text in ("1 of 5 folds was", "one random seed", drawn, "was edited", "in the sandbox"):
        assert text in limits
    assert "not Kaggle's" in name_board(run, "public")
    whole = make({"settings": {"num_folds": 1, "num_seeds": 2}, "fold_auc": {"0": 0.9}})
    assert not [*list_limits(whole, None)]
    assert name_board(whole, "public") == "the public leaderboard"


def test_what_is_cited_is_listed_and_what_is_listed_is_cited():
    """In the texts of networks, and in what the report's own sentences can say."""
    assert not list_cited("nothing")
    (line,) = list_cited("DenseNet (Huang et al. 2017)")
    assert line.endswith("<https://arxiv.org/abs/1608.06993>")
    facts = [
        f"{network.text} {network.about} {network.imagenet}" for network in load_networks().values()
    ]
    texts = "\n".join([*facts, *list_strings()])
    cited = set(re.findall(r"[A-Z][\w ]+? (?:et al\.|& \w+) \d{4}", texts))
    with open(REFERENCES, encoding="utf-8", newline="") as file:
        known = {row["cited"] for row in csv.DictReader(file)}
    assert cited <= known and not [name for name in known if name not in texts]


def list_strings():
    """The texts in the code of the report, each joined as Python joins it."""
    for path in Path(architectures.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
