"""Turn posts of Hacker News into a log: the title, its points, when it came and from which site.

python recipes/hacker_news/prepare.py hacker_news.parquet runs/hacker_news-data/logs.parquet
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

HOST = r"(?i)^https?://(?:www\.)?([^/:?]+)"
RARE = 30  # sites with fewer posts are one category


def prepare(raw: pd.DataFrame) -> pd.DataFrame:
    """Return all posts; points are taken as logarithms, since a few posts have thousands."""
    when = pd.to_datetime(raw["created_at"], format="%m/%d/%Y %H:%M")
    site = raw["url"].str.extract(HOST)[0].str.lower().fillna("no link")
    return pd.DataFrame(
        {
            "title": raw["title"].str.strip(),
            "log_points": np.log1p(raw["num_points"]),
            "hour": when.dt.hour,
            "weekday": when.dt.day_name(),
            "month": when.dt.strftime("%Y-%m"),
            "site": site.where(site.map(site.value_counts()) >= RARE, "other"),
        }
    )


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    logs = prepare(pd.read_parquet(source))
    logs.to_parquet(target, index=False)
    print(f"{len(logs)} titles in {target}")
