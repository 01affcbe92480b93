"""What the codes of a report mean: the page of each finding, at the end of the report."""

from collections.abc import Iterable
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markupsafe import Markup

from causalign.checks.explained import codes, explained

__all__ = ["Meaning", "meanings"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """Hold the page of one code: its title, and what it says as HTML and as Markdown."""

    code: str
    title: str
    html: Markup
    markdown: Markup


def meanings(found: Iterable[str]) -> tuple[Meaning, ...]:
    """Return the pages of these codes, each once and in order; a code without a page has none.

    Pages come with the library, not from a log; HTML in them is shown as text all the same.
    """
    wanted = set(found)
    known = [code for code in codes() if code in wanted]
    read = MarkdownIt("commonmark", {"html": False}).enable("table")
    pages = []
    for code in known:
        head, _, linked = explained(code, linked=known).partition("\n")
        plain = explained(code).partition("\n")[2].strip()
        title = head.removeprefix(f"# {code}: ")
        # The library's own words, rendered without raw HTML: safe to be taken as they are.
        pages.append(Meaning(code, title, Markup(read.render(linked)), Markup(plain)))
    return tuple(pages)
