"""Ask what logs can support: findings on the data, what travels with the texts, which words."""

from causalign.audit.confounders import Audit, ConfounderAudit, audit
from causalign.audit.markers import MarkerAudit, audit_markers, with_markers

__all__ = ["Audit", "ConfounderAudit", "MarkerAudit", "audit", "audit_markers", "with_markers"]
