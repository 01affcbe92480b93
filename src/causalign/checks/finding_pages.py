"""What a finding means: how it is detected, why it matters, what to do, from its page."""

import re
from collections.abc import Collection
from importlib.resources import files

from causalign.errors import InputError, nearest

_PAGES = files("causalign.checks") / "pages"
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def codes() -> list[str]:
    """Return the codes of all findings."""
    return sorted(page.name.removesuffix(".md") for page in _PAGES.iterdir())


def explain(code: str, linked: Collection[str] = ()) -> str:
    """Return the page of a finding as Markdown, its code in the title.

    Parameters
    ----------
    code : str
        The code of the finding, such as ``"DA101"``.
    linked : collection of str
        Links to the pages of these codes become ``#CODE``; other links, which lead to files of the
        repository, become their words.

    Returns
    -------
    str
        The page.

    Raises
    ------
    InputError
        For a code that no finding has.
    """
    if code not in codes():
        raise InputError(f"No finding has the code {code!r}; {nearest(code, codes())}")

    def replace_link(link: re.Match[str]) -> str:
        page = link[2].rpartition("/")[2].removesuffix(".md")
        if link[2].startswith("http"):
            return link[0]
        return f"[{link[1]}](#{page})" if page in linked else link[1]

    return _LINK.sub(replace_link, (_PAGES / f"{code}.md").read_text(encoding="utf-8"))
