"""Pictures of a run, in one style, colour-blind safe."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .paths import write_beside

# Okabe and Ito's palette, without its yellow, which is pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MAX_SHOWN = 1.5
CURVES = {
    "accuracy": "accuracy",
    "loss": "loss (binary cross-entropy)",
    "auc": "ROC AUC",
}


def plot_curves(history, path, title):
    """Accuracy, loss and AUC per epoch and fold, as the seed plots them.

    Args:
        history: DataFrame with columns fold, seed, epoch, accuracy, loss, auc, and the
            last three again with val_ before them.
        path: Path of the PNG (1500x500 pixels).
        title: str.
    """
    figure = Figure(figsize=(15, 5), dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=15)
    folds = sorted(history["fold"].unique())
    for axes, (name, text) in zip(figure.subplots(1, 3), CURVES.items()):
        for (fold, _), rows in history.groupby(["fold", "seed"]):
            colour = COLOURS[folds.index(fold) % len(COLOURS)]
            marker = "o" if len(rows) == 1 else None
            axes.plot(rows["epoch"], rows[name], "--", color=colour, marker=marker)
            axes.plot(rows["epoch"], rows[f"val_{name}"], color=colour, marker=marker)
        axes.set(xlabel="epoch", ylabel=text)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        highest = history[[name, f"val_{name}"]].to_numpy().max()
        if highest > MAX_SHOWN:  # early losses of hundreds would flatten the rest
            axes.set_ylim(0, MAX_SHOWN)
            axes.set_ylabel(f"{text}, cut at {MAX_SHOWN} (highest {highest:.3g})")
    keys = [
        Line2D([], [], color="0.3", linestyle="--", label="training"),
        Line2D([], [], color="0.3", label="validation"),
    ]
    keys += [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], linewidth=4, label=f"fold {f}")
        for i, f in enumerate(folds)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    with write_beside(path) as partial:
        figure.savefig(partial)
