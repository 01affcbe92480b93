"""What a finding means: how it is detected, why it matters, what to do, from its page."""

import re
from collections.abc import Collection
from importlib.resources import files

from causalign.errors import InputError, nearest

__all__ = ["codes", "explained"]

_PAGES = files("causalign.checks") / "pages"
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def codes() -> list[str]:
    """Return the codes of all findings."""
    return sorted(page.name.removesuffix(".md") for page in _PAGES.iterdir())


def explained(code: str, linked: Collection[str] = ()) -> str:
    """Return the page of a finding as Markdown, its code in the title.

    A link to the page of one of ``linked`` becomes ``#CODE``; other links, which lead to files of
    the repository, become their words. Raises ``InputError`` for a code that no finding has.
    """
    if code not in codes():
        raise InputError(f"No finding has the code {code!r}; {nearest(code, codes())}")

    def kept(link: re.Match[str]) -> str:
        page = link[2].rpartition("/")[2].removesuffix(".md")
        if link[2].startswith("http"):
            return link[0]
        return f"[{link[1]}](#{page})" if page in linked else link[1]

    return _LINK.sub(kept, (_PAGES / f"{code}.md").read_text(encoding="utf-8"))
