"""What publishers' servers answer: a listing, or one clear line why there is none."""

from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from causalign.errors import DownloadError, needs_extra

SECONDS = 60.0
HEADERS = {"User-Agent": "causalign (data get)"}


def downloads() -> tuple[ModuleType, ModuleType]:
    """Return the libraries ``requests`` and ``pooch``."""
    with needs_extra("Fetching data", "`pip install 'causalign[data]'`"):
        import pooch
        import requests
    return requests, pooch


def listing(address: str) -> Any:
    """Return the JSON behind an address; raise `DownloadError` if there is none."""
    requests, _ = downloads()
    try:
        response = requests.get(address, timeout=SECONDS, headers=HEADERS)
        response.raise_for_status()
        return response.json()
    except requests.RequestException as error:
        raise DownloadError(explain(error, address)) from error


def explain(error: Exception, address: str) -> str:
    """Say in one line what an error of ``requests`` at an address means."""
    requests, _ = downloads()
    if isinstance(error, requests.JSONDecodeError):
        return f"The listing at {address} is not JSON."
    if isinstance(error, ValueError):
        return f"{address!r} is no web address: {' '.join(str(error).split())}."
    host = urlsplit(address).netloc
    if isinstance(error, requests.HTTPError):
        answer = error.response
        return f"{host} answered {answer.status_code} {answer.reason} to {answer.url}."
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"{host} was silent for {SECONDS:.0f} seconds."
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"The connection to {host} broke off."
    if isinstance(error, requests.ConnectionError):
        return f"Cannot reach {host}."
    return f"{address!r} cannot be fetched: {' '.join(str(error).split())}"
