"""How publishers list their files: OSF, Dataverse, Hugging Face and the Internet Archive.

Each class names one deposit; ``files()`` asks the publisher's own interface, which states a
checksum for the files. The form of the answers is taken from the publishers' documentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol
from urllib.parse import quote

from causalign.data.remote_file import RemoteFile, read_checksum
from causalign.data.web import listing
from causalign.errors import DownloadError

MOST_PAGES = 200


class Deposit(Protocol):
    """What a publisher keeps under one identifier."""

    @property
    def listing(self) -> str:
        """Return the address that lists the files."""
        ...

    def files(self) -> Iterator[RemoteFile]:
        """Yield the files that the listing names."""
        ...


@dataclass(frozen=True, slots=True)
class OSF:
    """The OSF Storage of a node, with its folders (OSF API v2, SHA-256)."""

    node: str
    base: ClassVar[str] = "https://api.osf.io"

    @property
    def listing(self) -> str:
        """Return the address that lists the top folder."""
        return f"{self.base}/v2/nodes/{self.node}/files/osfstorage/"

    def files(self) -> Iterator[RemoteFile]:
        """Yield the files of all folders, page by page."""
        waiting = [(self.listing, "")]
        for _ in range(MOST_PAGES):
            if not waiting:
                return
            address, folder = waiting.pop(0)
            page = listing(self._own(address))
            for entry in page["data"]:
                attributes = entry["attributes"]
                path = folder + attributes["name"]
                if attributes["kind"] == "folder":
                    related = entry["relationships"]["files"]["links"]["related"]
                    waiting.append((related["href"], f"{path}/"))
                else:
                    hashes = attributes["extra"].get("hashes", {})
                    yield RemoteFile(
                        path,
                        str(entry["links"]["download"]),
                        _size(attributes["size"]),
                        read_checksum("sha256", hashes.get("sha256")),
                    )
            if page["links"].get("next"):
                waiting.append((page["links"]["next"], folder))
        raise DownloadError(f"The listing at {self.listing} has more than {MOST_PAGES} pages.")

    def _own(self, address: str) -> str:
        if not address.startswith(f"{self.base}/"):
            raise DownloadError(f"The listing at {self.listing} goes on elsewhere: {address!r}.")
        return address


@dataclass(frozen=True, slots=True)
class Dataverse:
    """The published version of a dataset in Harvard Dataverse (native and data access API, MD5).

    Tables are offered converted; the checksum is that of the file as it was deposited, so that one
    is fetched.
    """

    doi: str
    base: ClassVar[str] = "https://dataverse.harvard.edu"

    @property
    def listing(self) -> str:
        """Return the address that lists the files of the version."""
        version = "api/datasets/:persistentId/versions/:latest-published/files"
        return f"{self.base}/{version}?persistentId={self.doi}"

    def files(self) -> Iterator[RemoteFile]:
        """Yield the files of the version."""
        for entry in listing(self.listing)["data"]:
            file = entry["dataFile"]
            was_converted = "originalFileFormat" in file
            name = file.get("originalFileName") if was_converted else None
            folder = f"{entry['directoryLabel']}/" if entry.get("directoryLabel") else ""
            checksum = file.get("checksum", {})
            yield RemoteFile(
                folder + (name or entry["label"]),
                f"{self.base}/api/access/datafile/{int(file['id'])}"
                + ("?format=original" if was_converted else ""),
                _size(file.get("originalFileSize") if was_converted else file["filesize"]),
                read_checksum(checksum.get("type"), checksum.get("value"))
                or read_checksum("md5", file.get("md5")),
            )


@dataclass(frozen=True, slots=True)
class HuggingFace:
    """A dataset repository on the Hugging Face Hub, at the commit that the listing names.

    Large files have a SHA-256; small ones, which are no data, have no checksum of their content.
    """

    repository: str
    base: ClassVar[str] = "https://huggingface.co"

    @property
    def listing(self) -> str:
        """Return the address that lists the files with their checksums."""
        return f"{self.base}/api/datasets/{self.repository}?blobs=true"

    def files(self) -> Iterator[RemoteFile]:
        """Yield the files of the newest commit."""
        answer = listing(self.listing)
        commit = quote(answer["sha"], safe="")
        for entry in answer["siblings"]:
            path = entry["rfilename"]
            large = entry.get("lfs")
            yield RemoteFile(
                path,
                f"{self.base}/datasets/{self.repository}/resolve/{commit}/{quote(path)}",
                _size(entry.get("size")),
                read_checksum("sha256", large["sha256"]) if large else None,
            )


@dataclass(frozen=True, slots=True)
class InternetArchive:
    """An item of the Internet Archive (metadata API, SHA-1 or MD5)."""

    item: str
    base: ClassVar[str] = "https://archive.org"

    @property
    def listing(self) -> str:
        """Return the address of the item's metadata."""
        return f"{self.base}/metadata/{self.item}"

    def files(self) -> Iterator[RemoteFile]:
        """Yield the files of the item; SHA-1 where it is stated."""
        for entry in listing(self.listing).get("files", ()):
            yield RemoteFile(
                entry["name"],
                f"{self.base}/download/{self.item}/{quote(entry['name'])}",
                _size(entry.get("size")),
                read_checksum("sha1", entry.get("sha1")) or read_checksum("md5", entry.get("md5")),
            )


def _size(size: int | str | None) -> int | None:
    return None if size is None else int(size)
