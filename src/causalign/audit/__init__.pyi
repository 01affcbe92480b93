from .basis import WIDEST as WIDEST
from .complete_audit import audit_with_markers as audit_with_markers
from .confounders import Audit as Audit
from .confounders import ConfounderAudit as ConfounderAudit
from .confounders import audit_logs as audit_logs
from .marker_audit import MarkerAudit as MarkerAudit
from .marker_audit import add_markers as add_markers
from .spurious_markers import audit_markers as audit_markers
