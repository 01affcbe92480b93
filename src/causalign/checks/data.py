"""DA1xx: is the table what a log should be?"""

import numpy as np
import pyarrow.compute as pc

from causalign.logs import Logs
from causalign.results import Finding, Verdict

HUGE_CHARACTERS = 100_000
FEW_ROWS = 200


def duplicate_rows(logs: Logs) -> Finding:
    """DA101: rows equal in every column with a role, which count one observation twice."""
    columns = list(logs.roles.columns())
    distinct = logs.data.select(columns).group_by(columns).aggregate([]).num_rows
    extra = len(logs) - distinct
    return Finding(
        "DA101",
        "Duplicate rows",
        Verdict.WARN if extra else Verdict.PASS,
        f"{extra} of {len(logs)} rows repeat another row in all columns with a role. If one event "
        "was logged twice, remove the copies: they make intervals too narrow."
        if extra
        else "No row repeats another.",
        {"duplicates": extra, "rows": len(logs)},
    )


def huge_texts(logs: Logs) -> Finding:
    """DA102: texts so long that an encoder reads only their beginning."""
    lengths = pc.utf8_length(logs.data[logs.roles.completion]).to_numpy()
    huge = int((lengths > HUGE_CHARACTERS).sum())
    return Finding(
        "DA102",
        "Very long texts",
        Verdict.WARN if huge else Verdict.PASS,
        f"{huge} texts have more than {HUGE_CHARACTERS:,} characters (the longest "
        f"{int(lengths.max()):,}, row {int(lengths.argmax())}): look whether several records ran "
        "together; encoders read only the beginning."
        if huge
        else f"The longest text has {int(lengths.max()):,} characters.",
        {"huge": huge, "longest": int(lengths.max())},
    )


def few_rows(logs: Logs) -> Finding:
    """DA103: too few rows to tell a confounder's effect from noise."""
    few = len(logs) < FEW_ROWS
    return Finding(
        "DA103",
        "Number of rows",
        Verdict.WARN if few else Verdict.PASS,
        f"{len(logs)} rows are few: expect wide intervals and a reward close to the mean."
        if few
        else f"{len(logs):,} rows.",
        {"rows": len(logs)},
    )


def constant_confounders(logs: Logs) -> Finding:
    """DA104: confounders that never vary, which cannot confound anything."""
    constant = [c.name for c in logs.confounders if np.ptp(c.values) == 0]
    if not logs.roles.confounders:
        return Finding(
            "DA104",
            "Confounders that vary",
            Verdict.NOT_APPLICABLE,
            "These logs declare no confounders.",
        )
    return Finding(
        "DA104",
        "Confounders that vary",
        Verdict.WARN if constant else Verdict.PASS,
        f"Constant, so without effect: {', '.join(constant)}. Remove them from the roles."
        if constant
        else "Every confounder varies.",
        {"constant": len(constant)},
    )


def repeated_texts(logs: Logs) -> Finding:
    """DA105: the same text in several rows, which must stay on one side of every split."""
    distinct = pc.count_distinct(logs.data[logs.roles.completion]).as_py()
    share = 1 - distinct / len(logs)
    return Finding(
        "DA105",
        "Repeated texts",
        Verdict.WARN if share > 0.5 else Verdict.PASS,
        f"{share:.0%} of the rows repeat an earlier text ({distinct:,} distinct). Rows with the "
        "same text stay together when folds are cut; effective sample size is that of the texts."
        if share > 0.5
        else f"{distinct:,} distinct texts in {len(logs):,} rows.",
        {"distinct": distinct, "rows": len(logs)},
    )
