"""What the findings of policies say turns with their numbers."""

from causalign.policy import findings
from causalign.results import Verdict


def test_findings_turn_with_their_numbers():
    verdict = {
        "typical": findings.typical_texts(0.88).verdict,
        "strange": findings.typical_texts(0.5).verdict,
        "foreign": findings.typical_texts(0.05).verdict,
        "unclipped": findings.clipped_weights(0.0, None).verdict,
        "clipped": findings.clipped_weights(0.2, 5.0).verdict,
        "cut": findings.read_whole(1, 0, 3, 8, "completions").verdict,
        "beheaded": findings.read_whole(0, 3, 3, 8, "prompts").verdict,
        "whole": findings.read_whole(0, 0, 3, 8, "prompts").verdict,
        "mostly cut": findings.read_whole(2, 0, 3, 8, "completions").verdict,
        "typed": findings.typed_control_tokens(1, 1000, "</s>").verdict,
        "clean": findings.typed_control_tokens(0, 1000, None).verdict,
        "one end": findings.chat_template(True, "</s>", "</s>", None).verdict,
        "two ends": findings.chat_template(True, "</s>", "<end>", None).verdict,
        "no template": findings.chat_template(False, "</s>", "<end>", "today").verdict,
        "clock": findings.chat_template(True, "</s>", "</s>", "today").verdict,
        "lossless": findings.lossless_tokens(1, 100).verdict,
        "lossy": findings.lossless_tokens(2, 100).verdict,
        "silence pays": findings.reward_of_silence(0.6, 1.0, 0.0).verdict,
        "silence does not": findings.reward_of_silence(0.4, 0.0, 1.0).verdict,
        "silent": findings.sampled_texts(50, 0, 100).verdict,
    }
    assert verdict == {
        "typical": Verdict.PASS,
        "strange": Verdict.WARN,
        "foreign": Verdict.FAIL,
        "unclipped": Verdict.NOT_APPLICABLE,
        "clipped": Verdict.WARN,
        "cut": Verdict.WARN,
        "beheaded": Verdict.WARN,
        "whole": Verdict.PASS,
        "mostly cut": Verdict.FAIL,
        "typed": Verdict.WARN,
        "clean": Verdict.PASS,
        "one end": Verdict.PASS,
        "two ends": Verdict.WARN,
        "no template": Verdict.WARN,
        "clock": Verdict.WARN,
        "lossless": Verdict.PASS,
        "lossy": Verdict.WARN,
        "silence pays": Verdict.WARN,
        "silence does not": Verdict.PASS,
        "silent": Verdict.WARN,
    }
