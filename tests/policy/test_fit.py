"""What a fit leaves behind loads elsewhere, and is shown in a few lines."""

import numpy as np
import pytest
import torch

from causalign.errors import ArtifactError
from causalign.lm.language_model import Lora
from causalign.policy import SFT, PolicyFit
from causalign.policy.fit import curve_table
from causalign.results import Finding, Verdict


def test_adapters_load_with_plain_peft(writer, logs, training, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    method = SFT(model=str(writer.model_folder), training=training, lora=Lora(rank=4))
    fit = method.fit(logs, tmp_path / "run")
    base = AutoModelForCausalLM.from_pretrained(writer.model_folder)
    plain = PeftModel.from_pretrained(base, fit.model_folder)
    tokenizer = AutoTokenizer.from_pretrained(fit.model_folder)
    ids = tokenizer("yes good", return_tensors="pt").input_ids
    with torch.no_grad():
        ours = fit.language_model().model(input_ids=ids).logits
        assert torch.allclose(plain(input_ids=ids).logits, ours, atol=1e-6)
    card = (fit.model_folder / "README.md").read_text()
    for said in ("base_model:", "Data.", '"rank": 4', "PO105", "library_name: peft"):
        assert said in card


def small(tmp_path, steps=40):
    curve = curve_table([{"step": s, "loss": 1.0 / s, "extra": 2.0} for s in range(1, steps + 1)])
    finding = Finding("PO108", "<b>End</b>", Verdict.WARN, "Stopped & <i>kept</i>.", {"step": 1.0})
    return PolicyFit("sft", "tiny", tmp_path, curve, "loss", "Nothing.", {"rows": 2.0}, (finding,))


def test_a_fit_is_shown_in_a_few_lines_and_escaped(tmp_path):
    fit = small(tmp_path)
    assert len(repr(fit).splitlines()) <= 12
    html = fit._repr_html_()
    assert "<i>" not in html
    assert "&lt;i&gt;" in html
    assert "Holds if: Nothing." in fit.summary()
    assert fit.plot().get_ylabel() == "loss"
    assert fit.table().to_pandas()["loss"].iloc[-1] == pytest.approx(1 / 40)
    assert fit.section().figures[0].name == "training"
    assert small(tmp_path, steps=1).section().figures == ()


def test_a_fit_is_read_back_and_damage_is_reported(tmp_path):
    fit = small(tmp_path)
    fit.save()
    again = PolicyFit.load(tmp_path)
    assert again.curve.equals(fit.curve)
    assert again.findings == fit.findings
    assert again.summary() == fit.summary()
    with pytest.raises(ArtifactError, match="tune again"):
        PolicyFit.load(tmp_path / "elsewhere")
    path = tmp_path / "fit.json"
    whole = path.read_text()
    path.write_text(whole.replace('"base"', '"bass"'))
    with pytest.raises(ArtifactError, match="damaged"):
        PolicyFit.load(tmp_path)
    path.write_text(whole.replace('"version": 1', '"version": 99'))
    with pytest.raises(ArtifactError, match="version 99"):
        PolicyFit.load(tmp_path)


def test_a_curve_may_lack_a_metric_in_some_steps():
    table = curve_table([{"step": 1, "epoch": 0.5, "loss": 1.0}, {"step": 2, "kl": 3.0}])
    assert table.column_names == ["step", "kl", "loss"]
    assert table["loss"].to_pylist() == [1.0, None]
    assert np.isnan(curve_table([{"step": 1, "loss": np.nan}])["loss"][0].as_py())
