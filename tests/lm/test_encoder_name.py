import pytest

from causalign.errors import SettingsError
from causalign.lm.encoder_name import EncoderName, parse_encoder_name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("minilm", ("minilm", None, None)),
        ("smollm2:last", ("smollm2", "last", None)),
        ("smollm2:mean:bfloat16", ("smollm2", "mean", "bfloat16")),
        ("smollm2:float32", ("smollm2", None, "float32")),
        ("owner/some-model:mean", ("owner/some-model", "mean", None)),
        ("tfidf", ("tfidf", None, None)),
    ],
)
def test_names_are_read(name, parts):
    assert parse_encoder_name(name) == EncoderName(*parts)
    assert str(parse_encoder_name(name)) == name


def test_a_folder_may_hold_a_colon_and_options_follow_it(tmp_path):
    folder = tmp_path / "odd:mean"
    folder.mkdir()
    assert parse_encoder_name(folder) == EncoderName(str(folder))
    assert parse_encoder_name(f"{folder}:last") == EncoderName(str(folder), "last")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minilmm", "did you mean 'minilm'"),
        ("smollm", "did you mean 'smollm2'"),
        ("smollm2:lst", "did you mean 'last'"),
        ("smollm2:mean:last", "Cannot read 'mean'"),
        ("smollm2:mean:mean", "Cannot read 'mean'"),
        ("smollm2:", "Cannot read ''"),
        ("tfidf:mean", "no further options"),
        ("./no/such/folder", "no such folder"),
        ("/owner/name", "no such folder"),
        ("", "no encoder named ''"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(SettingsError, match=message):
        parse_encoder_name(name)
