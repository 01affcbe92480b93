"""Photograph the first screen of the demo's report for the README, in Chromium without a network.

scripts/demo                        writes runs/newsletter
python scripts/readme_picture.py    writes docs/images/report.png
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "runs" / "newsletter" / "6-report" / "report.html"
TARGET = ROOT / "docs" / "images" / "report.png"
SCREEN = "1280,905"


def main() -> None:
    """Write the picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or not PAGE.exists():
        raise SystemExit(f"This needs Chromium on the path, and {PAGE}: run scripts/demo first.")
    with tempfile.TemporaryDirectory() as profile:
        flags = f"--headless --no-sandbox --disable-gpu --hide-scrollbars --window-size={SCREEN}"
        light = "--blink-settings=preferredColorScheme=1"
        place = [f"--user-data-dir={profile}", f"--screenshot={TARGET}", PAGE.as_uri()]
        subprocess.run([chromium, *flags.split(), light, *place], check=True, capture_output=True)
    print(TARGET)


if __name__ == "__main__":
    main()
