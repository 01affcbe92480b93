"""Ask what logs can support: findings on the data, what travels with the texts, which words."""

from causalign.audit.basis import WIDEST
from causalign.audit.confounders import Audit, ConfounderAudit, audit
from causalign.audit.markers import MarkerAudit, audit_markers, with_markers

__all__ = [
    "WIDEST",
    "Audit",
    "ConfounderAudit",
    "MarkerAudit",
    "audit",
    "audit_markers",
    "with_markers",
]
