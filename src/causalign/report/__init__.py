"""Turn the sections of a run into one page to read: HTML that needs nothing else, and Markdown."""

from causalign.report.build import Report, build

__all__ = ["Report", "build"]
