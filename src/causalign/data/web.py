"""Ask a publisher's server over HTTPS: bytes or JSON, or one clear line why there are none."""

import json
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from causalign.errors import DownloadError

SCHEMES = ["https"]
SECONDS = 60.0
LARGEST_LISTING = 1 << 26
AGENT = "causalign (data get)"


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only where the first address could lead; urllib would also take FTP."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _host(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_CheckedRedirects)


@contextmanager
def opened(address: str) -> Iterator[HTTPResponse]:
    """Open an address for reading; raise `DownloadError` for whatever the network does."""
    host = _host(address)
    request = urllib.request.Request(address, headers={"User-Agent": AGENT})
    try:
        with _opener.open(request, timeout=SECONDS) as response:
            yield response
    except HTTPError as error:
        raise DownloadError(f"{host} answered {error.code} {error.reason} to {address}.") from error
    except URLError as error:
        raise DownloadError(f"Cannot reach {host}: {_reason(error.reason)}.") from error
    except TimeoutError as error:
        raise DownloadError(f"{host} was silent for {SECONDS:.0f} seconds.") from error
    except (HTTPException, ConnectionError, ssl.SSLError) as error:
        raise DownloadError(f"The connection to {host} broke off: {_reason(error)}.") from error


def read_json(address: str) -> Any:
    """Return the JSON behind an address; raise `DownloadError` if it is something else."""
    with opened(address) as response:
        text = response.read(LARGEST_LISTING + 1)
    if len(text) > LARGEST_LISTING:
        raise DownloadError(f"The listing at {address} is longer than {LARGEST_LISTING} bytes.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DownloadError(f"The listing at {address} is not JSON.") from error


def _host(address: str) -> str:
    """Return the server of an address; raise `DownloadError` for what is no plain web address."""
    with suppress(ValueError):
        parts = urlsplit(address)
        plain = address.isascii() and address.isprintable() and " " not in address
        if plain and parts.scheme in SCHEMES and parts.netloc:
            return parts.netloc
    raise DownloadError(
        f"Only {SCHEMES[0]} addresses are fetched, and the publisher names {address!r}."
    )


def _reason(error: object) -> str:
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(told.split()).rstrip(".")
