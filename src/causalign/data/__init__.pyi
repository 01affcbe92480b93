from .fetching import Fetched as Fetched
from .fetching import fetch as fetch
from .originals import SOURCES as SOURCES
from .originals import Source as Source
from .originals import find_source as find_source
from .remote_file import RemoteFile as RemoteFile
