"""The explained patches of a run's networks."""

from .assessment import list_positions
from .reading import ReportRun


def gather_maps(run: ReportRun, members: list) -> list:
    """The explained patches of all networks: list of (id, label, prediction, patch, map)."""
    positions = list_positions(members)
    if run.oof is None or len(positions) != len(run.oof):
        return []
    rows, found = dict(zip(positions, zip(run.oof.index, run.oof["label"]))), {}
    for member in members:
        if member.explanation is None:
            continue
        explained = member.explanation
        for place, patch, heat in zip(explained.shown, explained.patches, explained.maps):
            position = member.positions[place]
            answer = float(member.oof_one_view[place])
            found[position] = (*rows[position], answer, patch, heat.astype("float32"))
    return [found[position] for position in sorted(found)]
