"""The only place that knows the order: logs → audit → deconfound → reward → policy → evaluate."""

from causalign.pipeline.order import Run, rebuild_report, run

__all__ = ["Run", "rebuild_report", "run"]
