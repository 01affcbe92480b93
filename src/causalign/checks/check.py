"""Make the findings of one check, which share its code, its title and its numbers."""

from causalign.results import Finding, Verdict


class Check:
    """Name a check and what it measured; its methods say how it ended and why."""

    def __init__(self, code: str, title: str, **numbers: float | str) -> None:
        self.code, self.title, self.numbers = code, title, numbers

    def end(self, verdict: Verdict, explanation: str) -> Finding:
        """Return the finding with this verdict."""
        return Finding(self.code, self.title, verdict, explanation, self.numbers)

    def passes(self, explanation: str) -> Finding:
        """Return the finding that nothing is wrong."""
        return self.end(Verdict.PASS, explanation)

    def warns(self, explanation: str) -> Finding:
        """Return the finding that the reader must look."""
        return self.end(Verdict.WARN, explanation)

    def fails(self, explanation: str) -> Finding:
        """Return the finding that the result must not be used."""
        return self.end(Verdict.FAIL, explanation)

    def does_not_apply(self, explanation: str) -> Finding:
        """Return the finding that the check says nothing here."""
        return self.end(Verdict.NOT_APPLICABLE, explanation)
