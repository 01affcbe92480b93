"""Turn Inside Airbnb's listings of Bristol into a log: a text, its bookings, what came before.

python recipes/bristol/prepare.py airbnb_bristol.parquet runs/bristol-data/logs.parquet
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

LUXURY = r"(?i)\bluxur"
THRIFT = r"(?i)\b(?:affordable|budget|cheap|bargain|inexpensive|good value|great value)\b"


def prepare(raw: pd.DataFrame) -> pd.DataFrame:
    """Return the listings that show a price and a description."""
    raw = raw.dropna(subset=["price", "description"])
    words = (raw["name"] + ". " + raw["description"]).str.replace(r"<[^>]*>", " ", regex=True)
    text = words.str.split().str.join(" ")
    log_price = np.log(raw["price"].str.replace(r"[$,]", "", regex=True).astype(float))
    return pd.DataFrame(
        {
            "text": text,
            "days_booked": raw["estimated_occupancy_l365d"],
            "log_price": log_price,
            "room_type": raw["room_type"],
            "neighbourhood": raw["neighbourhood_cleansed"],
            "guests": raw["accommodates"].clip(upper=8),
            "minimum_nights": raw["minimum_nights"].clip(upper=30),
            "superhost": raw["host_is_superhost"] == "t",
            "host_since": raw["host_since"].str[:4].astype(int),
            "says_luxury": text.str.contains(LUXURY),
            "says_affordable": text.str.contains(THRIFT),
            # Prices in one band differ by a fifth at most, so that its rows can be compared.
            "price_band": np.floor(log_price * 5).astype(int),
        }
    )


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    logs = prepare(pd.read_parquet(source))
    logs.to_parquet(target, index=False)
    print(f"{len(logs)} listings in {target}")
