"""Turn requests for free pizza into a log: the request as it was made, and whether it worked.

python recipes/pizza/prepare.py pizza_requests.parquet runs/pizza-data/logs.parquet
"""

import html
import sys
from pathlib import Path

import numpy as np
import pandas as pd

TAG = r"(?i)[\[(]?\brequest\b[\])]?[:\s-]*"


def prepare(raw: pd.DataFrame) -> pd.DataFrame:
    """Return all requests, without the columns that were measured after the request.

    ``text_as_stored`` holds what requesters added later; it is kept to show what that does.
    """
    when = pd.to_datetime(raw["unix_timestamp_of_request_utc"], unit="s")
    log_karma = np.log1p(raw["requester_upvotes_minus_downvotes_at_request"].clip(0))
    title = raw["request_title"].str.replace(TAG, "", regex=True)
    return pd.DataFrame(
        {
            "text": _joined(title, raw["request_text_edit_aware"]),
            "text_as_stored": _joined(title, raw["request_text"]),
            "received": (raw["requester_received_pizza"] == "true").astype(float),
            "log_karma": log_karma,
            "log_account_days": np.log1p(raw["requester_account_age_in_days_at_request"]),
            "log_comments": np.log1p(raw["requester_number_of_comments_at_request"]),
            "asked_before": raw["requester_number_of_posts_on_raop_at_request"] > 0,
            "hour": when.dt.hour,
            "month": when.dt.strftime("%Y-%m"),
            # Karma in one band differs by a factor of e at most: its rows can be compared.
            "karma_band": np.floor(log_karma).astype(int),
        }
    )


def _joined(title: pd.Series, body: pd.Series) -> pd.Series:
    # The file holds line breaks as two characters, and some signs as HTML entities.
    words = (title + ". " + body.fillna("")).str.replace(r"\\[nrt]", " ", regex=True)
    return words.map(html.unescape).str.split().str.join(" ")


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    logs = prepare(pd.read_parquet(source))
    logs.to_parquet(target, index=False)
    print(f"{len(logs)} requests in {target}")
