"""Public originals of the data that reproductions and tutorials read, fetched from publishers."""

from causalign.data.fetching import Fetched, fetch
from causalign.data.originals import Source, source, sources
from causalign.data.remote_file import RemoteFile

__all__ = ["Fetched", "RemoteFile", "Source", "fetch", "source", "sources"]
