"""The verbs for people: completion, man, spec, validate, features; and python -m. explain: test_cli_explain.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import types

import pytest

from ocirt.cli.main import main
from ocirt.cli.options import GLOBAL, VERBS
from ocirt.errors import ConfigError, Problem


def run(*words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, **options)


# -- completion and manual ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_names_every_verb_and_every_flag(shell, capfd):
    assert main(["completion", shell]) == 0
    script = capfd.readouterr().out
    for verb, (_, _, flags, _) in VERBS.items():
        assert verb in script
        for flag in [*flags, *GLOBAL]:
            assert (f"-l {flag[0]}" if shell == "fish" else f"--{flag[0]}") in script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_is_a_script_that_its_shell_can_read(shell, capfd, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capfd.readouterr().out)
    result = run(shell, "-n", str(script))
    assert (result.returncode, result.stderr) == (0, "")


COMPLETED = [
    (["ocirt", "cr"], ["create"]),
    (["ocirt", "--cgroup-manager", ""], ["cgroupfs", "systemd", "disabled"]),
    (["ocirt", "list", "--format", ""], ["table", "json"]),
    (["ocirt", "ps", "-f", ""], ["table", "json"]),
    (["ocirt", "--log-format", "j"], ["json"]),
    (["ocirt", "run", "--no-"], ["--no-pivot", "--no-new-keyring", "--no-subreaper"]),
    (["ocirt", "--debug", "kill", "--r"], ["--regex"]),
    (["ocirt", "delete", "w"], ["web"]),
    (["ocirt", "create", "w"], []),
    (["ocirt", "completion", ""], ["bash", "zsh", "fish", "--help", "--usage"]),
]


@pytest.mark.parametrize(("words", "expected"), COMPLETED, ids=[" ".join(words) for words, _ in COMPLETED])
def test_bash_completes_verbs_flags_values_and_ids(words, expected, capfd):
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    assert main(["completion", "bash"]) == 0
    script = capfd.readouterr().out + '\nocirt() { echo web; }\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ocirt\n'
    result = run("bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"', "bash", *words)
    assert result.stderr == ""
    assert sorted(result.stdout.split()) == sorted(expected)


def test_the_manual_page_names_every_verb_and_flag(capfd):
    assert main(["man"]) == 0
    page = capfd.readouterr().out
    for verb, (_, _, flags, _) in VERBS.items():
        assert f".SS ocirt {verb}" in page
        for flag in [*flags, *GLOBAL]:
            assert "\\-\\-" + flag[0].replace("-", "\\-") in page
    assert ".SS ocirt exec [flags] ID [COMMAND...]" in page
    assert page.count("...") == 2  # of exec and ps: none is a flag's


def test_the_manual_page_is_typeset_without_a_warning(capfd):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    assert main(["man"]) == 0
    result = run("groff", "-man", "-Tutf8", "-ww", "-z", input=capfd.readouterr().out)
    assert (result.returncode, result.stderr) == (0, "")


# -- spec, validate ----------------------------------------------------------------------------------------------


@pytest.fixture
def config(monkeypatch):
    """Stands in for ocirt.config; `config.problems` are what check finds."""
    made = types.SimpleNamespace(problems=[], warnings=[], taken=[], loaded=[])

    def load(bundle, file=None, *, strict=False):
        made.loaded.append((bundle, file, strict))
        return {}, b"{}"

    def check(document, raw):
        if made.problems:
            raise ConfigError(made.problems)

    members = {
        "load": {"load": load, "parse": lambda raw: {}},
        "check": {"check": check},
        "explain": {"warnings": lambda document, raw: made.warnings, "problems": lambda document, raw: made.taken},
        "default": {"document": lambda rootless: {"ociVersion": "1.3.0", "rootless": rootless}},
    }
    for name, functions in members.items():
        module = types.ModuleType(f"ocirt.config.{name}")
        module.__dict__.update(functions)
        monkeypatch.setitem(sys.modules, f"ocirt.config.{name}", module)
    return made


@pytest.mark.parametrize(("words", "rootless"), [([], False), (["--rootless"], True), (["--rootless=false"], False)])
def test_spec_writes_config_json_into_the_bundle(words, rootless, config, tmp_path, capfd):
    assert main(["spec", "--bundle", str(tmp_path), *words]) == 0
    assert json.loads((tmp_path / "config.json").read_text())["rootless"] is rootless
    assert capfd.readouterr() == ("", "")


def test_spec_writes_into_the_current_directory_and_under_another_name_when_told(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["spec", "-f", "other.json"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]


def test_spec_never_overwrites(config, tmp_path, capfd):
    (tmp_path / "config.json").write_text("mine")
    assert main(["spec", "-b", str(tmp_path)]) == 1
    assert capfd.readouterr().err == f'ocirt: file "{tmp_path}/config.json" exists; remove it first\n'
    assert (tmp_path / "config.json").read_text() == "mine"


@pytest.mark.parametrize("words", [[], ["."], ["-b", "."], ["--bundle", "{}"], ["{}"]])
def test_validate_takes_the_bundle_as_a_flag_as_an_argument_or_from_where_it_stands(
    words, config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["validate", *(word.format(tmp_path) for word in words)]) == 0
    assert config.loaded[0] == (str(tmp_path), None, False)


def test_validate_says_that_all_is_well_after_the_warnings(config, tmp_path, capfd):
    config.warnings = [Problem("/process/capabilities/bounding/0", "odd\x07", 7)]
    assert main(["validate", "--config", "/c.json", str(tmp_path)]) == 0
    assert capfd.readouterr() == (
        "warning: c.json:7: /process/capabilities/bounding/0: odd\\x07\nc.json is valid\n",
        "",
    )
    assert config.loaded[0] == (str(tmp_path), "/c.json", False)


def test_validate_names_what_is_taken_although_the_specification_refuses_it(config, tmp_path, capfd):
    config.taken = [Problem("/process/user/gid", "required, but missing", 7)]
    assert main(["validate", str(tmp_path)]) == 0
    assert capfd.readouterr() == (
        "warning: config.json:7: /process/user/gid: required, but missing; taken all the same, but not by --strict\n"
        "config.json is valid\n",
        "",
    )


def test_validate_strict_reads_the_config_as_it_is_written(config, tmp_path):
    assert main(["validate", "--strict", str(tmp_path)]) == 0
    assert config.loaded[0] == (str(tmp_path), None, True)


def test_validate_prints_each_problem_on_standard_error_and_exits_1(config, tmp_path, capfd):
    config.problems = [Problem("/root", "is missing"), Problem("/process/cwd", "not absolute", 4)]
    assert main(["validate", str(tmp_path)]) == 1
    assert capfd.readouterr() == (
        "",
        "ocirt: config.json: /root: is missing\nocirt: config.json:4: /process/cwd: not absolute\n",
    )


# -- python -m ---------------------------------------------------------------------------------------------------


def test_python_m_works_and_takes_no_module_from_the_current_directory(tmp_path, project):
    for name in ("json", "argparse", "posixpath", "time"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the bundle')\n")
    result = run(sys.executable, "-m", "ocirt", "help", "state", cwd=tmp_path, env={"PYTHONPATH": str(project)})
    assert result.stderr == ""
    assert result.stdout.startswith("usage: ocirt state")
    result = run(sys.executable, "-m", "ocirt", "nonsense", cwd=project)
    assert result.returncode == 2


# -- features ----------------------------------------------------------------------------------------------------


@pytest.fixture
def features(capfd):
    assert main(["features"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return json.loads(out)


def test_features_is_what_the_schema_of_the_specification_allows(features):
    jsonschema = pytest.importorskip("jsonschema")
    from ocirt.config import schemas

    jsonschema.Draft202012Validator(schemas.joined("features.json")).validate(features)


# config.md, "Linux mount options"
MOUNT_OPTIONS = """
    async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev nodiratime
    noexec
    noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime
    relatime remount rexec ridmap
    rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate
    rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid
    symfollow sync tmpcopyup unbindable rnodev rrelatime
"""


def test_features_names_every_mount_option_of_the_specification(features):
    assert set(MOUNT_OPTIONS.split()) <= set(features["mountOptions"])
    assert "" not in features["mountOptions"]


def test_features_tells_engines_only_of_what_works(features):
    linux = features["linux"]
    assert linux["mountExtensions"]["idmap"]["enabled"] is True
    assert linux["cgroup"]["systemd"] is True
    assert "user" in linux["namespaces"]
    assert "CAP_CHECKPOINT_RESTORE" in linux["capabilities"]
    for name in ("netDevices", "intelRdt", "apparmor", "selinux", "seccomp"):
        assert linux[name]["enabled"] is True, name
    assert "MPOL_WEIGHTED_INTERLEAVE" in linux["memoryPolicy"]["modes"]
    assert features["ociVersionMin"] == "1.0.0"
    assert features["ociVersionMax"] == "1.3.0"
    assert "SCMP_ACT_NOTIFY" in linux["seccomp"].get("actions", ["SCMP_ACT_NOTIFY"])
