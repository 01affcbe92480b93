"""What the findings of policies say turns with their numbers."""

import numpy as np

from causalign.policy import findings
from causalign.results import Verdict


def test_findings_turn_with_their_numbers():
    verdict = {
        "typical": findings.typical_texts(0.88).verdict,
        "strange": findings.typical_texts(0.5).verdict,
        "foreign": findings.typical_texts(0.05).verdict,
        "unclipped": findings.clipped_weights(0.0, None).verdict,
        "clipped": findings.clipped_weights(0.2, 5.0).verdict,
        "cut": findings.cut_texts(np.array([True, False, False]), 8).verdict,
        "silent": findings.sampled_texts(50, 0, 100).verdict,
    }
    assert verdict == {
        "typical": Verdict.PASS,
        "strange": Verdict.WARN,
        "foreign": Verdict.FAIL,
        "unclipped": Verdict.NOT_APPLICABLE,
        "clipped": Verdict.WARN,
        "cut": Verdict.WARN,
        "silent": Verdict.WARN,
    }
