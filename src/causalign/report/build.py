"""Gather the sections of a run into a report and write it as a page and as Markdown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from causalign.errors import ArtifactError, SettingsError
from causalign.files import write_whole
from causalign.report import render
from causalign.report.gains import Money
from causalign.report.opening import Opening, say_answer, write_opening
from causalign.results import Finding, Section, Verdict, card, html_card, worst


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The report of a run: a verdict, an answer in plain words, one section a stage.

    The same report gives the same bytes.

    Parameters
    ----------
    title : str
        The heading.
    answer : str
        What came out, in plain words; the page opens on it where no stage audited a log.
    sections : tuple of Section
        One for each stage.
    provenance : mapping
        What made the report (command, versions, seed, hash of the input); it is printed at the
        end, ``command`` first.
    money : Money, optional
        What one of the outcome is worth: gains are then told in money.
    made : str
        The day on which the last stage ended.
    """

    title: str
    answer: str
    sections: tuple[Section, ...]
    provenance: Mapping[str, object] = field(default_factory=dict)
    money: Money | None = None
    made: str = ""

    @property
    def verdict(self) -> Verdict:
        """The verdict of what was judged: rewards on held-out pairs, policies by what they earn."""
        return judge(self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all sections, in their order."""
        return tuple(finding for section in self.sections for finding in section.findings)

    def has_failed(self) -> bool:
        """Return whether a finding failed or a part of the report cannot be shown."""
        failed = any(finding.verdict is Verdict.FAIL for finding in self.findings)
        return failed or bool(self._page().unshown)

    def to_html(self) -> str:
        """Return one page that loads nothing and needs no script."""
        return render.html(self._page())

    def to_markdown(self) -> str:
        """Return the same words and numbers as GitHub-flavoured Markdown."""
        return render.markdown(self._page())

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``report.html`` and ``report.md`` into a folder, each whole or not at all.

        What the checks of the page mean lies beside them in ``checks.html``, to which it links.

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
        page = self._page()
        pages = {
            "report.html": render.html(page),
            "report.md": render.markdown(page),
            "checks.html": render.html(page, "checks"),
        }
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
        opening = render.attempt(
            lambda: write_opening(
                self.sections, answer=self.answer, money=self.money, made=self.made
            ),
            lambda why: Opening(say_answer(self.answer), None, None, None, None, (), (), why),
        )
        return render.lay_out(self.title, self.verdict, opening, self.sections, self.provenance)


def build_report(
    sections: Iterable[Section],
    *,
    title: str,
    answer: str,
    provenance: Mapping[str, object],
    money: Money | None = None,
    made: str = "",
) -> Report:
    """Return the report of these sections.

    Parameters
    ----------
    sections : iterable of Section
        In the order in which they were made.
    title, answer, provenance, money, made
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
    return Report(title, answer, shown, dict(provenance), money, made)


def judge(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict of a report: of what was judged, and what failed beside it.

    Without a check that compared a reward or a policy with what came true, nothing but a failure
    can be said. Where one passed, a failure elsewhere leaves reservations; warnings are listed.
    """
    known = tuple(findings)
    judged = [f for f in known if f.verdict is not Verdict.NOT_APPLICABLE and _judges(f)]
    has_failed = any(f.verdict is Verdict.FAIL for f in known)
    if not judged:
        return Verdict.FAIL if has_failed else Verdict.NOT_APPLICABLE
    verdict = worst(tuple(judged))
    return Verdict.WARN if verdict is Verdict.PASS and has_failed else verdict


def _judges(finding: Finding) -> bool:
    # EV3 compares how texts look, those of the naive policy too.
    return finding.code.startswith(("EV1", "EV2", "EV4")) or finding.code == "PO120"
