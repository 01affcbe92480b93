"""Gather the sections of a run into a report and write it as a page and as Markdown."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from causalign.errors import ArtifactError, SettingsError
from causalign.report import render
from causalign.results import Finding, Section, Verdict, worst

__all__ = ["Report", "build"]


@dataclass(frozen=True, slots=True)
class Report:
    """Hold what a reader is told: a verdict, an answer in plain words, one section a stage.

    ``provenance`` says what made the report (command, versions, seed, hash of the input); it is
    printed at the end, ``command`` first. The same report gives the same bytes.
    """

    title: str
    verdict: Verdict
    answer: str
    sections: tuple[Section, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return the findings of all sections, in their order."""
        return tuple(finding for section in self.sections for finding in section.findings)

    def failed(self) -> bool:
        """Return whether a finding failed or a part of the report cannot be shown."""
        return self.verdict is Verdict.FAIL or bool(self._page().unshown)

    def to_html(self) -> str:
        """Return one page that loads nothing and needs no script."""
        return render.html(self._page())

    def to_markdown(self) -> str:
        """Return the same words and numbers as GitHub-flavoured Markdown."""
        return render.markdown(self._page())

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``report.html`` and ``report.md`` into the folder; return their paths.

        Each file appears whole or not at all. Raises `ArtifactError` if the folder cannot be
        written.
        """
        target = Path(folder)
        pages = {"report.html": self.to_html(), "report.md": self.to_markdown()}
        try:
            target.mkdir(parents=True, exist_ok=True)
            page, text = (_write_whole(target / name, content) for name, content in pages.items())
        except OSError as error:
            raise ArtifactError(
                f"The report cannot be written to {str(target)!r}: {error.strerror or error}. "
                "Name a folder that can be written."
            ) from error
        return page, text

    def _page(self) -> render.Page:
        return render.page(
            self.title, self.verdict, self.answer, self.sections, dict(self.provenance)
        )


def build(
    sections: Iterable[Section], *, title: str, answer: str, provenance: Mapping[str, Any]
) -> Report:
    """Return the report of these sections; its verdict is the gravest of their findings.

    Raises `SettingsError` if there is no section to report on.
    """
    kept = tuple(sections)
    if not kept:
        raise SettingsError("A report needs at least one section; there are none. Run a stage.")
    findings = tuple(finding for section in kept for finding in section.findings)
    return Report(title, worst(findings), answer, kept, dict(provenance))


def _write_whole(path: Path, content: str) -> Path:
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(content)
        # Drafts are private by default; the finished page is as readable as any new file.
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path
