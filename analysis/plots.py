"""All figures of a run, from its CSV files alone."""

import os

import bars
import curves
import gnuplot
import phases
import tails
from source import Source

KINDS = (
    bars.ratio_figures,
    bars.time_figures,
    curves.rate_figures,
    curves.scaling_figures,
    phases.phase_figures,
    bars.ablation_figures,
    curves.ecdf_figures,
    tails.tail_figures,
)


def plot(run):
    """Returns the files made and a one-line notice, or None, about what could not be made."""
    if gnuplot.MISSING:
        return [], gnuplot.MISSING
    folder = os.path.join(run.folder, 'plots')
    os.makedirs(folder, exist_ok=True)
    source, made, notices = Source(run.folder), [], []
    for kind in KINDS:
        for figure in kind(source):
            files, notice = figure.save(folder)
            made += files
            notices += [notice] if notice else []
    return made, notices[0] if notices else None
