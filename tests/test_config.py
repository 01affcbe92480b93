import os
from dataclasses import dataclass, field, replace

import pytest
import yaml

from causalign import config, policy
from causalign.errors import SettingsError, UnreadableFile
from causalign.recipe import Recipe


@dataclass(frozen=True)
class Inner:
    size: int = 1
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    title: str
    inner: Inner = field(default_factory=Inner)
    rate: float | None = None


def test_builds_nested_dataclasses():
    built = config.construct(Outer, {"title": "x", "inner": {"size": 3, "names": ["a"]}})
    assert built == Outer("x", Inner(3, ("a",)))


@dataclass(frozen=True)
class Deep:
    outer: Outer = field(default_factory=lambda: Outer("deep", Inner(7, ("kept",)), 0.5))
    inner: Inner | None = None


def test_nested_settings_start_from_the_default_of_their_field():
    built = config.construct(Deep, {"outer": {"inner": {"size": 3}}, "inner": {"size": 4}})
    assert built == Deep(Outer("deep", Inner(3, ("kept",)), 0.5), Inner(4))


@pytest.mark.parametrize("name", sorted(policy.METHODS))
def test_setting_the_steps_keeps_the_learning_rate_of_the_method(name):
    method = policy.METHODS[name]
    settings = config.override({"method": name}, ["training.steps=4", "lora.rank=2"])
    built = config.choose(policy.METHODS, settings, "policy")
    assert built.training == replace(method().training, steps=4)
    assert built.lora == replace(method().lora, rank=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "'title': is required"),
        ({"titel": "x"}, "'titel'; did you mean 'title'"),
        ({"title": "x", "inner": {"sizes": 1}}, "'inner.sizes'; did you mean 'size'"),
        ({"title": "x", "inner": {"size": "big"}}, "'inner.size'"),
        ({"title": "x", "inner": 3}, "'inner' must be a mapping"),
        ([1], "must be a mapping"),
    ],
)
def test_refuses_with_the_path(settings, message):
    with pytest.raises(SettingsError, match=message):
        config.construct(Outer, settings)


def test_override_reads_yaml_values_and_leaves_the_original():
    settings = {"a": {"b": 1}}
    changed = config.override(settings, ["a.b=[1, x]", "a.c.d=true"])
    assert changed == {"a": {"b": [1, "x"], "c": {"d": True}}}
    assert settings == {"a": {"b": 1}}
    with pytest.raises(SettingsError, match="name.of.setting=value"):
        config.override(settings, ["a.b"])


def test_yaml_never_builds_objects(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(SettingsError, match="not valid YAML"):
        config.read_yaml(path)
    with pytest.raises(UnreadableFile):
        config.read_yaml(tmp_path / "none.yaml")


def test_paths_are_relative_to_the_file_and_know_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", "/data")
    assert config.resolve_path("$PLACE/x", tmp_path) == "/data/x"
    assert config.resolve_path("x", tmp_path) == str(tmp_path / "x")
    with pytest.raises(SettingsError, match="not set"):
        config.resolve_path("$NO_SUCH_NAME/x", tmp_path)


def test_addresses_are_no_paths_but_for_files_of_databases(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "pa$$word")
    resolve = config.resolve_path
    assert resolve("s3://bucket/a.csv", tmp_path) == "s3://bucket/a.csv"
    filled = resolve("postgresql://me:${SECRET}@host/shop", tmp_path)
    assert filled == "postgresql://me:pa$$word@host/shop"
    assert filled.written == "postgresql://me:${SECRET}@host/shop"
    assert ("pa$$word", "$SECRET") in filled.replacements()
    assert resolve("sqlite:///shop.db", tmp_path) == f"sqlite:///{tmp_path}/shop.db"
    assert resolve("duckdb:////data/shop.db", tmp_path) == "duckdb:////data/shop.db"
    with pytest.raises(SettingsError, match="not set"):
        resolve("postgresql://me:${NO_SUCH_NAME}@host/shop", tmp_path)


def test_a_password_is_hidden_before_a_message_is_cut():
    address = f"postgresql://reader:hunter2{'x' * 80}@host/shop"
    for settings in (address, {"name": "a", "data": address}, {"name": [address], "data": {}}):
        with pytest.raises(SettingsError) as caught:
            config.construct(Recipe, settings)
        assert "hunter2" not in str(caught.value)


def test_a_list_that_a_program_wrote_once_for_two_keys_is_read(tmp_path):
    shared = ["a mug", "a plate"]
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"first": shared, "second": {"words": shared}}))
    assert "*id001" in path.read_text()
    assert config.read_yaml(path) == {"first": shared, "second": {"words": shared}}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"Line 3 uses an alias \(\*\); write the value out"),
        ("a: &a [x]\nb: [" + "*a, " * 101 + "x]", "uses an alias"),
        ("a: &a [*a]", "uses an alias"),
        ("a: " + "[" * 30_000, "nested deeper than 20 levels"),
        ("a: " + "[" * 900 + "]" * 900, "nested deeper"),
        ("".join(" " * i + "a:\n" for i in range(300)), "Line 21 is nested deeper"),
        ("- " * 30_000, "nested deeper"),
        ("a: " + "x" * 10_000_000, "longer than 64 KiB"),
        ("a: 1\nb: 2\na: 3", "'a' is written twice"),
        ("~: 1\n~: 2", "not one word"),
        ("? [a]\n: 1", "not one word"),
        ("? {a: 1}\n: 1", "not one word"),
        ("a: !!python/object/apply:os.system ['id']", "not valid YAML"),
        ("a: !other b", "not valid YAML"),
        ("a: 2020-13-45", "not valid YAML: month"),
        ("a: " + "9" * 5_000, "not valid YAML: .*digits"),
        ("a: !!int abc", "not valid YAML"),
        ("a: !!float abc", "not valid YAML"),
        ("a: \0", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("", "must hold a mapping"),
    ],
    ids=range(21),
)
def test_yaml_is_read_in_limits(text, message, tmp_path):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        config.read_yaml(tmp_path / "recipe.yaml")
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


def test_a_value_on_the_command_line_is_read_in_the_same_limits():
    for value in ("[" * 5_000, "&a [*a]", "9" * 5_000, "2020-13-45", "x" * 100_000):
        with pytest.raises(SettingsError, match="The value in 'a="):
            config.override({}, [f"a={value}"])


def test_six_thousand_keys_are_read(tmp_path):
    (tmp_path / "recipe.yaml").write_text("".join(f"k{i}: 1\n" for i in range(6_000)))
    assert len(config.read_yaml(tmp_path / "recipe.yaml")) == 6_000


def test_a_pipe_is_no_file_of_settings(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UnreadableFile, match="is no file"):
            config.read_yaml(path)


def test_long_settings_make_short_errors():
    for settings in ({"x" * 50_000: 1}, {"title": "a", "inner": ["x" * 50_000]}):
        with pytest.raises(SettingsError) as caught:
            config.construct(Outer, settings)
        assert len(str(caught.value)) < 400
