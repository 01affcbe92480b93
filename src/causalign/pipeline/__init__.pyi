from .order import Run as Run
from .order import preview as preview
from .order import rebuild_report as rebuild_report
from .order import run as run
from .tuning import policy_stage as policy_stage
