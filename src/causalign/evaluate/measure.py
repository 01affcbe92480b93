"""A result that is one table and one picture, and the section that it makes alone."""

from abc import abstractmethod
from typing import ClassVar

from causalign.figures import Drawing, draw_figures
from causalign.results import Finding, Result, Section


class Measure(Result):
    """A result with one question; several of them make up an evaluation."""

    __slots__ = ()

    question: ClassVar[str]
    assumption: ClassVar[str]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """None, unless the class has some."""
        return ()

    @abstractmethod
    def drawing(self) -> Drawing:
        """Return the picture of the result."""

    def section(self) -> Section:
        """Return the result as a section of a report."""
        drawing = self.drawing()
        return Section(
            stage="evaluate",
            question=self.question,
            answer=self.answer(),
            assumption=self.assumption,
            tables={drawing.name: self.table()},
            figures=draw_figures(drawing),
            findings=self.findings,
        )
