"""The part of section 4 that compares: runs, members of a blend, trials of a study."""

import pprint
import statistics
from collections.abc import Iterator

from pcam_kaggle.analysis.contributions import Contribution, describe_gain
from pcam_kaggle.analysis.scores import Comparison, describe_draws
from pcam_kaggle.system.settings import SESSION_SETTINGS

from ..predictions import describe_groupings, describe_interval
from .assessment import Assessment
from .checks import make_record
from .methods import join_names
from .names import describe_budget, name_setting, name_settings, name_trials, name_value
from .reading import ReportRun
from .story import Story

COMPARISON = """\
rows = {}
for name in RUNS:
    one, scores = runs[name], read(name, "submit.json")
    if one.get("oof_auc") is None:
        continue
    settings = one.get("settings") or {"architecture": f"blend: {one.get('method')}"}
    interval = read(name, "evaluation.json").get("interval")
    rows[name] = {
        "network": one.get("network") or settings.get("architecture", one.get("recipe")),
        "folds": len(one.get("fold_auc") or {}) or "-",
        "AUC out of fold": f"{one['oof_auc']:.4f}",
        "95 % interval": "{:.4f} to {:.4f}".format(*interval) if interval else "-",
        **compared[name],
        "public score": scores.get("public_score") or "-",
        "private score": scores.get("private_score") or "-",
        "minutes": f"{one['seconds'] / 60:.1f}" if one.get("seconds") else "-",
    }
table = pd.DataFrame(rows).T"""

STUDY = """\
study = read({name!r}, "study.csv")
study["number"] = [f"trial {{number}}" for number in study["number"]]
study["state"] = study["state"].str.lower()
best = study.sort_values("value", ascending=False).set_index("number").head(20)
if "seconds" in best:  # older studies lack it
    best["seconds"] = best["seconds"].map("{{:,.0f}}".format)
for name in best.select_dtypes("float").columns.drop("value"):
    best[name] = best[name].map("{{:.3g}}".format)
names = {names}
table = best.rename(columns=names)"""
TRIAL = {"value": "validation AUC", "epochs_trained": "epochs trained"}
MAX_CHANGES = 4  # settings named of a run that differs in more
STARTUP_TRIALS = 5  # trials that have to finish before TPE proposes any, as training.trials has it
RANKED = ("architecture", "weights", "input_size", "epochs", "learning_rate", "num_images")


def tell_runs(story: Story, runs: list, comparisons: dict) -> None:
    """The runs: each on its own patches, and compared with the first on common ones."""
    compared = {run.name: {"patches": "-"} for run in runs}
    for run in runs:
        if run.oof is not None:
            compared[run.name]["patches"] = f"{len(run.oof):,}"
    for name, found in comparisons.items():
        if isinstance(found, str):
            compared[name]["difference"] = found
        else:
            compared[name]["difference"] = describe_gain(found.difference, found.interval)
            compared[name]["common patches"] = f"{found.num_patches:,}"
    caption = "The runs of this report. The AUC of a run is that of its own out-of-fold patches."
    if comparisons:
        caption += (
            f" The difference is a run's AUC minus that of {runs[0].name} on the patches that both "
            "predicted out of fold, with its 95 % interval."
        )
    if any(run.oof is not None and run.slides is None for run in runs):
        caption += f" Where slides are unknown, intervals are {describe_draws(None)}."
    for text in dict.fromkeys(run.estimate for run in runs if run.estimate):
        names = ", ".join(run.name for run in runs if run.estimate == text)
        caption += f" {names}: {text}."
    if note := describe_groupings(list_groupings(runs)):
        caption += f" Note: {note}."
    text = pprint.pformat(compared, sort_dicts=False, width=90)
    story.table("runs", f"compared = {text}\n{COMPARISON}", caption)


def list_groupings(runs: list) -> dict:
    """What the folds of each run do not share, by name, of those that have predictions."""
    return {run.name: run.record.get("grouping", "") for run in runs if run.oof is not None}


def tell_blend(story: Story, run: ReportRun) -> None:
    """What each member of a blend adds, or each method of a run of several."""
    rows = {}
    for row in run.record["adds"]:
        part = make_record(Contribution, row)
        rows[part.run] = {
            "AUC out of fold": f"{part.oof_auc:.4f}",
            "weight": f"{part.weight:.3f}",
            "adds": describe_gain(part.adds, part.interval) or "-",
        }
    drawn = describe_interval(run.record.get("num_slides"), run.estimate)
    number = (
        "" if run.oof is None else f" All are scored on the {len(run.oof):,} patches in common."
    )
    story.table(
        f"members of {run.name}",
        f"table = pd.DataFrame({pprint.pformat(rows, sort_dicts=False, width=90)}).T",
        f"The members of {run.name}, and how much each adds to the AUC out of fold, with the "
        f"95 % interval ({drawn}).{number}",
    )


def describe_second(study: dict, num_completed: int) -> str:
    """How far the second trial is below the one with the highest AUC."""
    if num_completed == 1:
        return "No other trial was completed."
    if "second" not in study or study.get("not_compared"):
        return "How far it is above the others is unknown."
    second = study["second"]
    far = make_record(Comparison, second).describe()
    text = f"Trial {second['trial']}, the second, is below it by {far}."
    if study.get("within_noise"):
        numbers = name_trials(study["within_noise"])
        text += f" No significant difference from it on these patches: {numbers}."
    return text


def describe_sampling(run: ReportRun) -> str:
    """Where the settings of a study's trials come from, "" if all combinations are tried."""
    if {} not in run.space.values():  # choices alone are all tried, in order
        return ""
    trials, how = run.study, "drawn at random"
    if trials["state"].iloc[:-1].isin(["COMPLETE", "PRUNED"]).sum() >= STARTUP_TRIALS:
        how += (
            f" until {STARTUP_TRIALS} had finished, then proposed by Optuna's TPE "
            "(Bergstra et al. 2011)"
        )
    first = trials.iloc[0]
    names = [name for name in run.space if first.get(name, None) == run.settings.get(name, "")]
    if not names:
        return f", {how}"
    whole = len(names) == len(run.space)
    own = "settings" if whole else join_names([name_setting(name) for name in names])
    others = f", the others {how}" * (len(trials) > 1)
    return f", {'the first ' * (len(trials) > 1)}with the recipe's own {own}{others}"


def tell_study(story: Story, run: ReportRun) -> None:
    """The trials of a study."""
    study, states = run.record["study"], run.study["state"]
    num_completed = int((states == "COMPLETE").sum())
    chosen = f" ({name_settings(study['overrides'])})" * bool(study["overrides"])
    several, were = "s" * (len(states) != 1), "were" if num_completed != 1 else "was"
    text = (
        f"### Tuning: {run.label}\n\n{len(states)} trial{several} on fold {study['fold']}"
        f"{describe_sampling(run)}{describe_budget(run)}; {num_completed} {were} completed. "
        f"Trial {study['highest']} has the highest validation AUC, "
        f"{study['highest_auc']:.4f}{chosen}. {describe_second(study, num_completed)}"
    )
    if num_completed > 1:
        text += (
            f" It is the highest of {num_completed} on one fold, so its AUC is biased upward: "
            "judge its settings by a run of their own."
        )
    story.text(text)
    names = {name: name_setting(name) for name in run.study} | TRIAL
    story.table(
        f"trials of {run.name}",
        STUDY.format(name=run.name, names=pprint.pformat(names, sort_dicts=False, width=90)),
        f"The trials of {run.name} with the highest AUC"
        f"{' (20 of them)' if len(states) > 20 else ''}{describe_budget(run)}.",
    )
    caption, alt = "The study's trials", "Validation AUC by trial"
    if run.importance:
        caption += (
            ", and how much of the AUC's variance each setting explains (fANOVA; Hutter et al. "
            "2014)"
        )
        alt += ", and the importance of the settings"
    story.figure(run, "study.png", f"{caption}.", alt)


def describe_changes(
    story: Story, runs: list, assessment: Assessment | None, comparisons: dict
) -> Iterator[str]:
    """What changed a score and what did not, each with its number and what it can tell."""
    home, by_name = runs[0], {run.name: run for run in runs}
    for name, found in comparisons.items():
        if isinstance(found, str):
            continue
        changed = describe_difference(by_name[name], home)
        gain = describe_gain(found.difference, found.interval)
        verdict = judge_run(by_name[name], home, found.interval)
        yield f"{changed}: {gain} AUC, {verdict}{story.point_at('runs')}."
    if assessment is not None:
        if views := assessment.views:
            yield (
                f"Test-time augmentation: {describe_gain(views.difference, views.interval)} AUC, "
                f"{judge(views.interval)}{story.point_at('gains')}."
            )
        if len(assessment.seed_aucs) > 1:
            gain = assessment.auc_networks - statistics.mean(assessment.seed_aucs)
            yield (
                f"{len(assessment.seed_aucs)} networks per fold instead of one: {gain:+.4f} AUC "
                f"out of fold, without an interval{story.point_at('gains')}."
            )
    for run in runs:
        for row in run.record.get("adds", []):
            if "adds" in row:
                interval = row.get("interval")
                verdict = judge(interval) if interval else "without an interval"
                yield (
                    f"{row['run']} in {run.label}: {describe_gain(row['adds'], interval)} AUC, "
                    f"{verdict}{story.point_at(f'members of {run.name}')}."
                )
    for name, found in home.calibrations.items():
        if found.get("maps") and "after" in found:
            before, after = found["before"]["ece"], found["after"]["ece"]
            better = "lower" if after < before else "not lower"
            whose = f" of {name}" * bool(name)
            yield (
                f"Calibration{whose}: the calibration error went from {before:.3f} to "
                f"{after:.3f}, {better}."
            )


def judge(interval: tuple) -> str:
    """What an interval of a difference tells; 0 within it tells nothing."""
    low, high = (round(bound, 4) for bound in interval)  # as they are shown
    if low <= 0 <= high:
        return "no significant difference"
    return "helped" if low > 0 else "cost AUC"


def judge_run(run: ReportRun, home: ReportRun, interval: tuple) -> str:
    """What an interval tells of what a run did otherwise: the effect of one setting, if alone."""
    verdict = judge(interval)
    if verdict == judge((0, 0)) or not (run.settings and home.settings):
        return verdict
    number = len(list_changes(run, home)) - (run.recipe != home.recipe)
    differing = [f"{number} setting{'s' * (number != 1)}"] if number else []
    if run.recipe != home.recipe:
        differing.append("the recipe")
    elif run.record.get("code") != home.record.get("code") or is_edited(run) or is_edited(home):
        differing.append("the code")
    if run.record.get("device") != home.record.get("device"):
        differing.append("the device")
    if not number and run.recipe == home.recipe:
        also = f", but {join_names(differing)}" if differing else ""
        return f"a significant difference: no setting was changed{also}"
    if differing == ["1 setting"]:
        return verdict
    return f"{verdict}, with changes of {join_names(differing)}: no single cause is known"


def is_edited(run: ReportRun) -> bool:
    """Whether the page of a run was edited after it was built."""
    return bool(run.record.get("edited"))


def describe_difference(run: ReportRun, home: ReportRun) -> str:
    """What a run did otherwise than the report's own, in settings."""
    if not run.settings or not home.settings:
        return f"{run.label} instead of {home.label}"
    texts = list_changes(run, home)
    more = f"; {len(texts) - MAX_CHANGES} more" * (len(texts) > MAX_CHANGES)
    what = ", ".join(texts[:MAX_CHANGES]) or "the same settings"
    return f"{run.label} ({what}{more})"


def list_changes(run: ReportRun, home: ReportRun) -> list[str]:
    """The recipe and the settings of a run that differ from the report's own.

    Of two recipes, those that both have; of one, also a setting that an older version lacks.
    """
    texts, names = [], dict.fromkeys([*run.settings, *home.settings])
    if run.recipe != home.recipe:
        names = [name for name in run.settings if name in home.settings]
    for name in sorted(names, key=rank_setting):
        both = [settings.get(name) for settings in (home.settings, run.settings)]
        if name not in SESSION_SETTINGS and both[0] != both[1]:
            old, new = ("none" if v is None else name_value(name, v) for v in both)
            texts.append(f"{name_setting(name)}: {old} to {new}")
    return [f"recipe: {home.recipe} to {run.recipe}"] * (run.recipe != home.recipe) + texts


def rank_setting(name: str) -> int:
    """The place of a setting among those that differ: what matters most comes first."""
    own = name.rpartition(".")[2]
    return RANKED.index(own) if own in RANKED else len(RANKED)
