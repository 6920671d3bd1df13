"""The charts of a run are drawn whatever its numbers are, and their titles are true."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from kernel.report.learning_charts import (
    average_networks,
    describe_curves,
    describe_study,
    plot_curves,
    plot_study,
)
from kernel.report.score_charts import (
    describe_auc,
    describe_calibration,
    describe_errors,
    plot_errors,
    plot_roc,
    plot_scores,
    wilson,
)
from pcam_kaggle.analysis.evaluation import Confusion, Evaluation, StainScores, evaluate_predictions

MEASURES = ("accuracy", "auc", "loss", "val_accuracy", "val_auc", "val_loss")
RATES = {"sensitivity": 0.9, "specificity": 0.8}


def make_history(*aucs, **columns):
    """A history with the validation AUC of each network by epoch; its losses start at 197.2."""
    rows = [
        {**dict.fromkeys(MEASURES, 0.5), "fold": fold, "seed": 7, "epoch": epoch, "val_auc": auc}
        for fold, values in enumerate(aucs)
        for epoch, auc in enumerate(values, 1)
    ]
    history = pd.DataFrame(rows).assign(**columns)
    history.loc[history["epoch"] == 1, "val_loss"] = 197.2  # as in the course notebook
    return history


def make_evaluation(labels=(0, 0, 0, 1, 1, 1), predictions=(0.1, 0.2, 0.6, 0.4, 0.8, 0.9)):
    oof = pd.DataFrame({"label": np.array(labels), "prediction": np.array(predictions)})
    return oof, evaluate_predictions(oof["label"].to_numpy(), oof["prediction"].to_numpy())


@pytest.mark.parametrize(
    "aucs, title",
    [
        ([[0.7, 0.8, 0.81]], "Validation AUC still rises in the last epoch, by 0.010 to 0.810"),
        ([[0.8, 0.7, 0.81]], "Validation AUC still rises in the last epoch, by 0.110 to 0.810"),
        ([[0.7, 0.9, 0.8]], "Validation AUC peaks at 0.900 in epoch 2 and ends at 0.800"),
        ([[0.8, 0.9, 0.9012]], "Validation AUC ends within 0.002 of its highest, at 0.901"),
        ([[0.9, 0.899]], "Validation AUC ends within 0.002 of its highest, at 0.899"),
        ([[0.8]], "Validation AUC: 0.800 after one epoch"),
        ([[0.7, np.nan]], "Validation AUC: unknown in the last epoch"),
        ([[np.nan, 0.7]], "Validation AUC: 0.700 after the last epoch"),
        (
            [[0.5, 0.9], [0.7, 0.8]],
            "Mean validation AUC of 2 networks still rises in the last epoch, by 0.250 to 0.850",
        ),
        # One rises, but their mean falls.
        (
            [[0.8, 0.81], [0.9, 0.7]],
            "Mean validation AUC of 2 networks peaks at 0.850 in epoch 1 and ends at 0.755",
        ),
    ],
)
def test_the_title_of_the_curves_is_what_the_mean_does(aucs, title):
    assert describe_curves(make_history(*aucs)) == title


@pytest.mark.parametrize(
    "other, title",
    [
        (0.9, "vit ends with the highest validation AUC, 0.950"),
        (0.96, "cnn ends with the highest validation AUC, 0.960"),
        (0.95, "vit and cnn end with the highest validation AUC, 0.950"),
        (np.nan, "vit ends with the highest validation AUC, 0.950"),
    ],
)
def test_of_several_methods_the_best_one_is_named(other, title):
    parts = [
        make_history([0.99, auc], member=name) for name, auc in (("vit", 0.95), ("cnn", other))
    ]
    for order in (parts, parts[::-1]):
        names = "cnn and vit end" if order is not parts else "vit and cnn end"
        assert describe_curves(pd.concat(order)) == title.replace("vit and cnn end", names)


def test_a_network_that_stopped_early_counts_with_its_last_epoch():
    history = make_history([0.5, 0.7], [0.6, 0.8, 0.9])
    assert average_networks(history, "val_auc").tolist() == pytest.approx([0.55, 0.75, 0.8])
    history = make_history([0.5, np.nan, 0.7], [0.6, 0.8, 0.9])
    assert average_networks(history, "val_auc").isna().tolist() == [False, True, False]


@pytest.mark.parametrize("num_epochs, num_folds", [(1, 1), (20, 5), (3, 200)])
def test_curves_are_drawn_for_any_run(tmp_path, drawn, num_epochs, num_folds):
    history = make_history(*[np.linspace(0.5, 0.9, num_epochs)] * num_folds)
    plot_curves(history, tmp_path / "curves.png", "a run")
    (figure,) = drawn.figures
    drawn.check_frame()
    for axes in figure.axes:
        thin = 2 * num_folds if num_folds > 1 else 0
        assert len(axes.lines) == thin + 2
        boxes = [text.get_window_extent() for text in axes.texts]
        lower, upper = sorted(boxes, key=lambda box: box.y0)
        assert upper.y0 > lower.y1 - 1  # the last values are apart, also equal ones
    assert "highest value is 197" in figure.axes[1].get_title("left")
    assert figure.axes[1].get_ylim() == (0, 1.5)
    assert ("bold: the mean" in figure.get_supxlabel()) == (num_folds > 1)


def test_several_methods_have_a_color_each(tmp_path, drawn):
    parts = [make_history([0.5, auc], member=name) for name, auc in (("vit", 0.9), ("cnn", 0.8))]
    plot_curves(pd.concat(parts), tmp_path / "curves.png", "a run")
    texts = {text.get_text(): text.get_color() for text in drawn.figures[0].axes[0].texts}
    assert set(texts) == {"vit 0.900", "cnn 0.800"} and len(set(texts.values())) == 2
    assert len({line.get_color() for line in drawn.figures[0].axes[0].lines}) == 2


def test_a_network_that_diverged_is_drawn(tmp_path, drawn):
    plot_curves(make_history([np.nan, np.nan], val_loss=np.nan), tmp_path / "curves.png", "a run")
    assert [text.get_text() for text in drawn.figures[0].axes[0].texts] == ["training 0.500"]


def test_a_picture_that_cannot_be_drawn_leaves_no_file(tmp_path):
    with pytest.raises(KeyError):
        plot_curves(pd.DataFrame({"fold": [0]}), tmp_path / "curves.png", "a run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "auc, interval, title",
    [
        (0.9032, (0.883, 0.92), "AUC 0.903 out of fold (95 % interval 0.883 to 0.920)"),
        (0.98301, (0.981, 0.985), "AUC 0.9830 out of fold (95 % interval 0.9810 to 0.9850)"),
        (
            0.55,
            (0.48, 0.62),
            "AUC 0.550 out of fold (95 % interval 0.480 to 0.620): not significantly above chance",
        ),
        (
            0.4,
            (0.35, 0.45),
            "AUC 0.400 out of fold (95 % interval 0.350 to 0.450): worse than chance",
        ),
    ],
)
def test_the_title_of_the_roc_curve_is_the_auc(auc, interval, title):
    _, evaluation = make_evaluation()
    evaluation = dataclasses.replace(evaluation, auc=auc, interval=interval)
    assert describe_auc(evaluation) == title


@pytest.mark.parametrize("constant", [False, True])
def test_both_curves_have_chance_and_every_operating_point(tmp_path, drawn, constant):
    values = ((0, 1, 1, 1), (0.3,) * 4) if constant else ()
    oof, evaluation = make_evaluation(*values)
    plot_roc(oof, None, evaluation, tmp_path / "roc.png", "a run")
    upper, lower = drawn.figures[0].axes
    drawn.check_frame()
    share = oof["label"].mean()
    for axes, chance in ((upper, "chance, AUC 0.5"), (lower, f"chance, precision {share:.3f}")):
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts[0] == chance
        box, frame = axes.get_legend().get_window_extent(), axes.get_window_extent()
        assert box.y1 < frame.y0  # below the curves
        starts = ["specificity 95 %", "sensitivity 95 %", "Youden", "0.5"]
        known = [p.precision is not None for p in evaluation.operating_points.values()]
        if axes is lower:
            starts = [start for start, is_known in zip(starts, known) if is_known]
        assert [text.split(",")[0].split(":")[0] for text in texts[1:]] == starts
    assert lower.lines[1].get_ydata() == [share, share]
    assert f"average precision {0.75 if constant else 0.917:.3f}" in lower.get_title("left")


@pytest.mark.parametrize(
    "labels, predictions",
    [((1,) * 5, (0, 0.25, 0.5, 0.75, 1)), ((0, 1, 1), (0.3,) * 3), ((0, 1), (0, 1))],
)
def test_scores_are_counted_on_a_linear_scale(tmp_path, drawn, labels, predictions):
    oof = pd.DataFrame({"label": labels, "prediction": predictions})
    _, evaluation = make_evaluation()
    plot_scores(oof, evaluation, tmp_path / "scores.png", "a run")
    upper, lower = drawn.figures[0].axes
    drawn.check_frame()
    assert upper.get_yscale() == "linear"
    heights = [patch.get_xy()[1:-1:2, 1].sum() for patch in upper.patches]
    assert sum(heights) >= len(labels) and upper.get_ylim()[1] >= 1
    assert len(lower.lines[1].get_xdata()) == len(set(predictions))
    assert lower.get_xlim() == lower.get_ylim()


@pytest.mark.parametrize(
    "error, bias, title",
    [
        (0.03, 0.02, "0.030; predictions are on average 0.020 too high"),
        (0.03, -0.02, "0.030; predictions are on average 0.020 too low"),
        (0.03, 0.0, "0.030"),
    ],
)
def test_the_title_of_the_scores_is_how_far_they_are_off(error, bias, title):
    assert describe_calibration(error, bias) == f"Expected calibration error {title}"


def make_errors(counts, *stains):
    return Evaluation(
        auc=0.5,
        interval=(0.4, 0.6),
        resampled="patches",
        num_slides=None,
        operating_points={},
        confusion=Confusion(0.5, counts),
        calibration={},
        by_stain=stains,
    )


@pytest.mark.parametrize("num_stains", [0, 2])
def test_errors_are_drawn_without_a_class_and_without_stains(tmp_path, drawn, num_stains):
    # The second is of an older run, which did not keep the number of positives.
    stains = [StainScores(0, 9, None, None, 0.7, 0), StainScores(1, 3, 0.9, 0.8, 0.0)][:num_stains]
    evaluation = make_errors(((0, 0), (3, 7)), *stains)
    plot_errors(evaluation, tmp_path / "errors.png", "a run")
    upper, lower = drawn.figures[0].axes
    drawn.check_frame()
    assert [text.get_text() for text in upper.texts[:2]] == ["0\nno such patch"] * 2
    names = [label.get_text() for label in lower.get_yticklabels()]
    assert names[0] == "all\n10 patches\nAUC 0.500"
    assert (
        names[1:]
        == ["stain 1\n9 patches\nAUC unknown", "stain 2\n3 patches\nAUC 0.900"][:num_stains]
    )
    rates = ["70.0%", *(["80.0%", "70.0%", "0.0%"] if num_stains else [])]
    assert [text.get_text() for text in lower.texts] == rates
    assert len(lower.collections) == len(rates)  # an interval each
    low, high = lower.collections[0].get_segments()[0][:, 0]
    assert (low, high) == wilson(0.7, 10)
    assert lower.get_xlim()[0] <= min(low, *[0.0] * bool(num_stains), 1)


def test_an_interval_of_a_share_is_within_0_and_1():
    assert wilson(0.0, 5)[0] == 0.0 and wilson(1.0, 5)[1] == 1.0
    low, high = wilson(0.5, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson 1927


@pytest.mark.parametrize(
    "first, second, more",
    [
        ((0.9, 0.8), (0.6, 0.8), "; sensitivity is lower in stain 2"),
        ((0.6, 0.8), (0.9, 0.8), "; sensitivity is lower in stain 1"),
        (
            (0.9, 0.5),
            (0.6, 0.9),
            "; sensitivity is lower in stain 2, specificity is lower in stain 1",
        ),
        ((0.9, 0.8), (0.89, 0.81), ""),
        ((None, 0.8), (0.9, 0.8), ""),
    ],
)
def test_a_stain_is_only_named_if_the_intervals_are_apart(first, second, more):
    stains = [
        StainScores(stain, 200, 0.9, *rates, 100) for stain, rates in enumerate((first, second))
    ]
    title = describe_errors(make_errors(((180, 20), (10, 90)), *stains))
    assert title == f"10.0% of patches with tumor missed, 10.0% of others called tumor{more}"
    assert describe_errors(make_errors(((0, 0), (1, 3)))) == "25.0% of patches with tumor missed"


def make_trials(*values, state="COMPLETE"):
    return pd.DataFrame({"number": range(len(values)), "state": state, "value": values})


@pytest.mark.parametrize(
    "trials, title",
    [
        (make_trials(0.9, 0.91), "2 completed trials: 0.9100, trial 1"),
        (make_trials(0.91, 0.9, np.nan), "2 completed trials: 0.9100, trial 0"),
        (make_trials(0.9, 0.9), "2 completed trials: 0.9000, trials 0 and 1"),
        (
            # A pruned trial's value is that of an epoch on the way.
            make_trials(0.8, 0.7, 0.99, state=["COMPLETE", "COMPLETE", "PRUNED"]),
            "2 completed trials: 0.8000, trial 0",
        ),
    ],
)
def test_the_title_of_a_study_is_its_highest_trial(trials, title):
    assert describe_study(trials) == f"Highest validation AUC of {title}"


@pytest.mark.parametrize("states", [["COMPLETE"] * 2, ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]])
def test_a_study_is_drawn_however_its_trials_ended(tmp_path, drawn, states):
    trials = make_trials(*[0.9, 0.8, np.nan, 0.7][: len(states)], state=states)
    importance = {"epochs": 0.9, "batch_size": 0.1} if "PRUNED" in states else {}
    plot_study(trials, importance, tmp_path / "study.png", "a study")
    drawn.check_frame()
    upper, *lower = drawn.figures[0].axes
    texts = [text.get_text() for text in upper.get_legend().get_texts()]
    assert texts[0] == "complete: 2" and ("pruned: 1" in texts) == bool(importance)
    assert len(lower) == bool(importance)
    for axes in lower:
        assert axes.get_title("left") == "importance (fANOVA), estimated from 2 trials"
        assert [label.get_text() for label in axes.get_yticklabels()] == ["batch size", "epochs"]
