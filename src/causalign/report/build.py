"""Gather the sections of a run into a report and write it as a page and as Markdown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from causalign.errors import ArtifactError, SettingsError
from causalign.files import write_whole
from causalign.report import render
from causalign.results import Finding, Section, Verdict, card, html_card, worst


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The report of a run: a verdict, an answer in plain words, one section a stage.

    The same report gives the same bytes.

    Parameters
    ----------
    title : str
        The heading.
    verdict : Verdict
        The gravest of the findings.
    answer : str
        What came out, in plain words.
    sections : tuple of Section
        One for each stage.
    provenance : mapping
        What made the report (command, versions, seed, hash of the input); it is printed at the
        end, ``command`` first.
    """

    title: str
    verdict: Verdict
    answer: str
    sections: tuple[Section, ...]
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all sections, in their order."""
        return tuple(finding for section in self.sections for finding in section.findings)

    def has_failed(self) -> bool:
        """Return whether a finding failed or a part of the report cannot be shown."""
        return self.verdict is Verdict.FAIL or bool(self._page().unshown)

    def to_html(self) -> str:
        """Return one page that loads nothing and needs no script."""
        return render.html(self._page())

    def to_markdown(self) -> str:
        """Return the same words and numbers as GitHub-flavoured Markdown."""
        return render.markdown(self._page())

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``report.html`` and ``report.md`` into a folder, each whole or not at all.

        Parameters
        ----------
        folder : str or Path
            Made when it is not there.

        Returns
        -------
        (Path, Path)
            The page and its Markdown.

        Raises
        ------
        ArtifactError
            When the folder cannot be written.
        """
        target = Path(folder)
        pages = {"report.html": self.to_html(), "report.md": self.to_markdown()}
        try:
            for name, content in pages.items():
                with write_whole(target / name) as partial:
                    partial.write_text(content, encoding="utf-8", newline="\n")
        except OSError as error:
            raise ArtifactError(
                f"The report cannot be written to {str(target)!r}: {error.strerror or error}. "
                "Name a folder that can be written."
            ) from error
        return target / "report.html", target / "report.md"

    def table(self) -> pa.Table:
        """Return one row for each section: its stage, question, answer and gravest finding."""
        names = ("stage", "question", "answer")
        rows = {name: [getattr(section, name) for section in self.sections] for name in names}
        return pa.table(rows | {"verdict": [worst(s.findings).value for s in self.sections]})

    def __repr__(self) -> str:
        return card(f"Report: {self.title}", (self.verdict.value, self.answer), self.findings)

    def _repr_html_(self) -> str:
        title = f"Report: {self.title}"
        return html_card(title, (self.verdict.value, self.answer), self.table(), self.findings)

    def _page(self) -> render.Page:
        return render.lay_out(
            self.title, self.verdict, self.answer, self.sections, dict(self.provenance)
        )


def build_report(
    sections: Iterable[Section], *, title: str, answer: str, provenance: Mapping[str, object]
) -> Report:
    """Return the report of these sections; its verdict is the gravest of their findings.

    Parameters
    ----------
    sections : iterable of Section
        In the order in which they are shown.
    title, answer, provenance
        As in `Report`.

    Returns
    -------
    Report

    Raises
    ------
    SettingsError
        When there is no section to report on.
    """
    shown = tuple(sections)
    if not shown:
        raise SettingsError("A report needs at least one section; there are none. Run a stage.")
    findings = tuple(finding for section in shown for finding in section.findings)
    return Report(title, worst(findings), answer, shown, dict(provenance))
