"""DA1xx: is the table what a log should be?"""

import numpy as np
import pyarrow.compute as pc

from causalign.checks.check import Check
from causalign.logs import Logs
from causalign.logs.scales import FEW_COUNTS, share_of_few_counts
from causalign.results import Finding

HUGE_CHARACTERS = 100_000
FEW_ROWS = 200
MANY = 0.1


def duplicate_rows(logs: Logs) -> Finding:
    """DA101: rows equal in every column with a role, which count one observation twice."""
    columns = list(logs.roles.columns())
    extra = len(logs) - logs.data.select(columns).group_by(columns).aggregate([]).num_rows
    check = Check("DA101", "Duplicate rows", duplicates=extra, rows=len(logs))
    if not extra:
        return check.passes("No row repeats another.")
    return check.warns(
        f"{extra} of {len(logs)} rows repeat another row in all columns with a role. If one event "
        "was logged twice, remove the copies: they make intervals too narrow."
    )


def huge_texts(logs: Logs) -> Finding:
    """DA102: texts so long that an encoder reads only their beginning."""
    lengths = pc.utf8_length(logs.data[logs.roles.completion]).to_numpy()
    huge, longest = int((lengths > HUGE_CHARACTERS).sum()), int(lengths.max())
    check = Check("DA102", "Very long texts", huge=huge, longest=longest)
    if not huge:
        return check.passes(f"The longest text has {longest:,} characters.")
    return check.warns(
        f"{huge} texts have more than {HUGE_CHARACTERS:,} characters (the longest {longest:,}, row "
        f"{int(lengths.argmax())}): look whether several records ran together; encoders read only "
        "the beginning."
    )


def few_rows(logs: Logs) -> Finding:
    """DA103: too few rows to tell a confounder's effect from noise."""
    check = Check("DA103", "Number of rows", rows=len(logs))
    if len(logs) >= FEW_ROWS:
        return check.passes(f"{len(logs):,} rows.")
    return check.warns(
        f"{len(logs)} rows are few: expect wide intervals and a reward close to the mean."
    )


def constant_confounders(logs: Logs) -> Finding:
    """DA104: confounders that never vary, which cannot confound anything."""
    title = "Confounders that vary"
    if not logs.roles.confounders:
        return Check("DA104", title).does_not_apply("These logs declare no confounders.")
    constant = [c.name for c in logs.confounders if np.ptp(c.values) == 0]
    check = Check("DA104", title, constant=len(constant))
    if not constant:
        return check.passes("Every confounder varies.")
    return check.warns(
        f"Constant, so without effect: {', '.join(constant)}. Remove them from the roles."
    )


def repeated_texts(logs: Logs) -> Finding:
    """DA105: the same text in several rows, which must stay on one side of every split."""
    distinct = pc.count_distinct(logs.data[logs.roles.completion]).as_py()
    share = 1 - distinct / len(logs)
    check = Check("DA105", "Repeated texts", distinct=distinct, rows=len(logs))
    if share <= 0.5:
        return check.passes(f"{distinct:,} distinct texts in {len(logs):,} rows.")
    return check.warns(
        f"{share:.0%} of the rows repeat an earlier text ({distinct:,} distinct). Rows with the "
        "same text stay together when folds are cut; effective sample size is that of the texts."
    )


def few_counts(logs: Logs) -> Finding:
    """DA106: rows that expect so few successes or failures that their logarithms are rough."""
    title, share = "Counts behind log-odds", share_of_few_counts(logs)
    if share is None:
        return Check("DA106", title).does_not_apply("No counts were put on a scale of logarithms.")
    check = Check("DA106", title, share=share, fewest=FEW_COUNTS)
    words = f"{share:.0%} of the rows expect fewer than {FEW_COUNTS:g} successes or failures"
    if share <= MANY:
        return check.passes(f"{words}.")
    return check.warns(
        f"{words}: on the scale of logarithms these rows are noisy and count little, and what a "
        "text did to them is read to first order (doubled odds count as +1, not as 0.69). Gather "
        "more trials for each text, or keep the rates as they are (scale identity)."
    )
