"""CL1xx: are there enough clusters, none too large, and do folds cut along them?"""

import numpy as np
from numpy.typing import NDArray

from causalign.checks.check import Check
from causalign.logs import Logs
from causalign.logs.stories import find_stories
from causalign.results import Finding

# Below these, intervals that count clusters as independent draws are too short (see their pages).
FEW = 30
CLUSTERS_FOR_A_COLUMN = 20
FEW_TEXTS = 200
SHARED = 0.05

Codes = NDArray[np.int64]


def cluster_findings(logs: Logs) -> tuple[Finding, ...]:
    """Return CL101 to CL104; without declared clusters or groups only CL104, on copies of texts."""
    names = logs.roles.cluster_columns()
    if not names:
        return (texts_across(logs),)
    ways = {name: logs.codes_of(name) for name in names}
    findings = [number_of_clusters(ways), dominance(ways)]
    if logs.roles.cluster is not None:
        findings.append(constant_within(logs, ways))
    return (*findings, texts_across(logs))


def number_of_clusters(ways: dict[str, Codes]) -> Finding:
    """CL101: how many clusters are there, in the way that has the fewest?"""
    counts = {name: len(np.unique(codes)) for name, codes in ways.items()}
    name = min(counts, key=lambda n: counts[n])
    check = Check("CL101", "Number of clusters", clusters=counts[name], column=name)
    if counts[name] >= FEW:
        return check.passes(f"{counts[name]:,} clusters of {name}.")
    return check.warns(
        f"{counts[name]} clusters of {name} are few: errors are estimated from so many sums, and "
        f"intervals may be too short below {FEW}. Cluster by something finer if rows are "
        "independent there, or read intervals as the least that is not known."
    )


def dominance(ways: dict[str, Codes]) -> Finding:
    """CL102: does one cluster hold so many rows that the others hardly count?

    The effective number is ``(Σ n_g)² / Σ n_g²`` over clusters of n_g rows.
    """
    sizes = {name: np.bincount(codes - codes.min()) for name, codes in ways.items()}
    effective = {name: float(n.sum() ** 2 / (n.astype(float) ** 2).sum()) for name, n in
                 sizes.items()}  # fmt: skip
    name = min(effective, key=lambda n: effective[n])
    size, effective_number = sizes[name], effective[name]
    count, largest = int((size > 0).sum()), float(size.max() / size.sum())
    check = Check(
        "CL102",
        "Sizes of the clusters",
        effective_clusters=effective_number,
        clusters=count,
        largest_share=largest,
        column=name,
    )
    if effective_number >= FEW or effective_number >= count / 2:
        return check.passes(
            f"The {count:,} clusters of {name} count like {effective_number:,.0f} of equal size."
        )
    return check.warns(
        f"The {count:,} clusters of {name} count like {effective_number:.1f} of equal size: the "
        f"largest holds {largest:.0%} of the rows. Its own noise sets the estimates, and intervals "
        "are too short. Split it, weight its rows down, or fit with and without it."
    )


def constant_within(logs: Logs, ways: dict[str, Codes]) -> Finding:
    """CL103: what does not vary within clusters, so that it has one value for each of them?"""
    columns = {logs.roles.completion: logs.codes_of(logs.roles.completion)}
    columns |= {c.name: c.values for c in logs.confounders}
    needed = {c.name: max(len(c.levels) - 1, 1) * CLUSTERS_FOR_A_COLUMN for c in logs.confounders}
    needed[logs.roles.completion] = FEW_TEXTS
    constant, grave = [], []
    for name, codes in ways.items():
        repeated = np.bincount(codes - codes.min())[codes - codes.min()] > 1
        count = len(np.unique(codes))
        for column, values in columns.items():
            if column == name or not repeated.any() or np.ptp(values) == 0:
                continue
            if _varies(values[repeated], codes[repeated]):
                continue
            constant.append(f"{column} in {name}")
            if count < needed[column]:
                grave.append(f"{column} ({count} of {name})")
    check = Check(
        "CL103", "What varies within clusters", constant=len(constant), with_few_clusters=len(grave)
    )
    if grave:
        return check.warns(
            "These take one value in each cluster, and there are few clusters: "
            f"{', '.join(grave)}. Their effects are read from the clusters and not from the "
            f"{len(logs):,} rows: whatever else differs between clusters looks like them."
        )
    explanation = "Text and confounders vary within clusters."
    if constant:
        explanation = (
            f"One value in each cluster, and enough clusters: {', '.join(constant)}. Effects of "
            "these are read from differences between clusters."
        )
    return check.passes(explanation)


def texts_across(logs: Logs) -> Finding:
    """CL104: would a split along groups put the same text on both sides?

    Texts that differ in a word or two are the same text here (`causalign.logs.stories`).
    """
    joined = find_stories(logs)
    sharing, units = joined.count_sharing()
    stories, share = len(np.unique(joined.story)), sharing / units
    check = Check(
        "CL104", "Texts on one side of a split", share=share, units=units, stories=stories
    )
    column = logs.roles.group or next(iter(logs.roles.cluster_columns()), None)
    note = f" Note that {joined.limit}." if joined.limit else ""
    if column is None:
        shared = f"{share:.1%} of the {units:,} different texts are nearly equal to another."
    else:
        shared = f"{share:.1%} of the {units:,} groups of {column} show a text that another shows."
    if share <= SHARED:
        return check.passes(shared + note)
    if stories == units:
        return check.warns(
            f"{shared}{note} So a split puts the same text on both sides, and what is called "
            "unseen was seen. Keep one row of each text, or declare a coarser group."
        )
    return check.warns(
        f"{shared} Split by story: what shares a text, one by way of another, counts as one "
        f"({stories:,} stories). Recipes hold out whole stories; do the same where you split.{note}"
    )


def _varies(values: NDArray[np.generic], codes: Codes) -> bool:
    """Return whether values differ within any cluster."""
    order = np.lexsort((values, codes))
    ordered, member = values[order], codes[order]
    return bool(((ordered[1:] != ordered[:-1]) & (member[1:] == member[:-1])).any())
