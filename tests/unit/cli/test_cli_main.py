"""main: exit codes, what goes to standard output and standard error, the log, and that nothing escapes."""

from __future__ import annotations

import json
import os
import re
import sys
import types

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocirt import errors
from ocirt.cli.main import main
from ocirt.cli.options import GLOBAL, VERBS

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Layer:
    """Stands in for ocirt.container: remembers calls, raises `error` where one is set."""

    def __init__(self):
        self.calls = []
        self.error = None
        self.result = None
        self.containers = []

    def note(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        if self.error:
            raise self.error
        return self.result

    def listed(self, root, note=None):
        if note:
            note("skipped a foreign entry")
        if self.error:
            raise self.error
        return self.containers


def module(name, **members):
    made = types.ModuleType(f"ocirt.container.{name}")
    made.__dict__.update(members)
    return made


@pytest.fixture
def layer(monkeypatch):
    layer = Layer()

    def signal_number(text):
        if text not in ("TERM", "KILL", "9"):
            raise errors.UsageError(f'unknown signal "{text}"', "kill")
        return {"TERM": 15}.get(text, 9)

    for name, made in {
        "create": module("create", create=layer.note),
        "run": module("run", run=layer.note),
        "start": module("start", start=layer.note),
        "state": module("state", public=layer.note),
        "kill": module("kill", kill=layer.note, signal_number=signal_number),
        "delete": module("delete", delete=layer.note),
        "list": module("list", containers=layer.listed),
    }.items():
        monkeypatch.setitem(sys.modules, f"ocirt.container.{name}", made)
    return layer


def fields(record):
    return {name: getattr(record, name) for name in record.__slots__}


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# -- help and usage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["-?"], ["help"], ["--usage"], ["--help", "nonsense"]])
def test_help_goes_to_standard_output_and_exits_0(words, capfd):
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert out.startswith("usage: ocirt ")
    assert err == ""
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", out, re.MULTILINE)
    for flag in GLOBAL:
        assert f"--{flag[0]}" in out


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("form", [["{}", "--help"], ["{}", "-h", "extra", "words"], ["help", "{}"], ["{}", "--usage"]])
def test_each_verb_has_help_that_names_its_arguments_and_flags(verb, form, capfd):
    assert main([word.format(verb) for word in form]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines()[0] == " ".join(["usage: ocirt", verb, "[flags]", *VERBS[verb][3]])
    assert err == ""
    if "--usage" not in form:
        assert all(f"--{flag[0]}" in out for flag in VERBS[verb][2])


WRONG = [
    ([], "ocirt: missing argument: VERB"),
    (["creat", "x"], 'ocirt: unknown command "creat"; did you mean "create"?'),
    (["frobnicate"], 'ocirt: unknown command "frobnicate"'),
    (["exec", "x", "ls"], 'ocirt: command "exec" is not part of this version'),
    (["checkpoint", "--help"], 'ocirt: command "checkpoint" is not part of this version'),
    (["help", "stat"], 'ocirt: help: unknown command "stat"; did you mean "state"?'),
    (["--nonsense", "list"], 'ocirt: unknown flag "--nonsense"'),
    (["create"], "ocirt: create: missing argument: ID"),
    (["create", "a", "b"], 'ocirt: create: unexpected argument "b"'),
    (["create", "--bundel", "/", "a"], 'ocirt: create: unknown flag "--bundel"; did you mean --bundle?'),
    (["kill", "a", "TERM", "9"], 'ocirt: kill: unexpected argument "9"'),
    (["kill", "a", "NOSUCH"], 'ocirt: kill: unknown signal "NOSUCH"'),
    (["--root=/r", "kill", "-r", "[", "9"],
     'ocirt: kill: regular expression "[": unterminated character set at position 0'),
    (["--root=/r", "kill", "-s", "9", "a", "TERM"], "ocirt: kill: the signal is given twice"),
    (["list", "x"], 'ocirt: list: unexpected argument "x"'),
    (["list", "--format", "yaml"], 'ocirt: list: flag --format: "yaml" is not one of table, json'),
    (["--log-format", "xml", "list"], 'ocirt: flag --log-format: "xml" is not one of text, json'),
    (["--cgroup-manager=x", "list"], 'ocirt: flag --cgroup-manager: "x" is not one of cgroupfs, systemd, disabled'),
    (["--rootless", "perhaps", "list"], 'ocirt: flag --rootless: "perhaps" is not one of true, false, auto'),
    (["--log", "journald:x", "list"], 'ocirt: flag --log: "journald:x": only files are supported'),
    (["--root", "", "list"], "ocirt: flag --root: the path is empty"),
    (["--root"], "ocirt: flag needs an argument: --root requires an argument (DIR)"),
    (["--root=/r", "create", "--preserve-fds", "-1", "a"],
     'ocirt: create: flag --preserve-fds: "-1" is not a number from 0 to 1048576'),
    (["--root=/r", "create", "--preserve-fds=99999999", "a"],
     'ocirt: create: flag --preserve-fds: "99999999" is not a number from 0 to 1048576'),
    (["completion", "csh"], 'ocirt: completion: no completion for the shell "csh", only for bash, zsh, fish'),
    (["validate", "-b", "/", "/"], "ocirt: validate: the bundle is given twice"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_wrong_command_line_says_so_with_the_usage_on_standard_error_and_exits_2(words, message, layer, capfd):
    assert main(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    first, usage, more = err.splitlines()
    assert first == message
    assert usage.startswith("usage: ocirt ")
    assert more.startswith("more: ocirt ")
    assert layer.calls == []


# -- verbs -------------------------------------------------------------------------------------------------------


def test_create_hands_over_every_flag_with_absolute_paths(layer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--config", "c.json", "--pid-file", "p", "--console-socket", "s", "--pidfd-socket", "q", "--no-pivot"]
    assert main(["--root", "r", "create", *words, "--no-new-keyring", "--preserve-fds", "2", "web"]) == 0
    [(arguments, keywords)] = layer.calls
    assert arguments == (f"{tmp_path}/r", "web", str(tmp_path))
    assert fields(keywords["options"]) == {
        "config": f"{tmp_path}/c.json",
        "pid_file": f"{tmp_path}/p",
        "console_socket": f"{tmp_path}/s",
        "no_pivot": True,
        "new_keyring": False,
        "preserve_fds": 2,
        "manager": "cgroupfs",
        "pidfd_socket": f"{tmp_path}/q",
    }


def test_create_without_flags_takes_the_current_directory_and_the_defaults(layer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--root", "/r", "create", "web"]) == 0
    [(arguments, keywords)] = layer.calls
    assert arguments == ("/r", "web", str(tmp_path))
    assert fields(keywords["options"]) == {
        "config": None,
        "pid_file": None,
        "console_socket": None,
        "no_pivot": False,
        "new_keyring": True,
        "preserve_fds": 0,
        "manager": "cgroupfs",
        "pidfd_socket": None,
    }


MANAGERS = [
    (["--systemd-cgroup"], "systemd"),
    (["--systemd-cgroup=false"], "cgroupfs"),
    (["--cgroup-manager=disabled"], "disabled"),
    (["--cgroup-manager", "systemd"], "systemd"),
    (["--cgroup-manager=cgroupfs", "--systemd-cgroup"], "cgroupfs"),
]


@pytest.mark.parametrize(("words", "manager"), MANAGERS)
def test_the_cgroup_manager_comes_from_either_peers_flag_and_the_named_one_wins(words, manager, layer):
    assert main(["--root", "/r", *words, "create", "-b", "/", "web"]) == 0
    assert layer.calls[0][1]["options"].manager == manager


def test_global_flags_are_taken_after_the_verb_too(layer):
    assert main(["start", "--root", "/r", "web"]) == 0
    assert layer.calls == [(("/r", "web"), {})]


def test_run_returns_the_exit_code_of_the_process(layer):
    layer.result = 137
    assert main(["--root", "/r", "run", "-b", "/", "--keep", "--no-subreaper", "web"]) == 137
    [(arguments, keywords)] = layer.calls
    assert arguments == ("/r", "web", "/")
    assert {key: keywords[key] for key in ("detach", "keep", "subreaper")} == {
        "detach": False,
        "keep": True,
        "subreaper": False,
    }


def test_run_detaches_when_told(layer):
    layer.result = 0
    assert main(["--root", "/r", "run", "-d", "-b", "/", "web"]) == 0
    assert layer.calls[0][1]["detach"] is True


@pytest.mark.parametrize(
    ("bundle", "why"), [("/nonexistent", "no such file or directory"), ("/etc/passwd", "not a directory")]
)
@pytest.mark.parametrize("verb", ["create", "run", "validate", "explain", "spec"])
def test_a_bundle_that_is_no_directory_is_named(verb, bundle, why, layer, capfd):
    assert main(["--root", "/r", verb, "-b", bundle, *(["web"] if "ID" in VERBS[verb][3] else [])]) == 1
    assert capfd.readouterr() == ("", f'ocirt: bundle "{bundle}": {why}\n')
    assert layer.calls == []


def test_state_prints_one_json_document_and_nothing_else(layer, capfd):
    layer.result = {"ociVersion": "1.3.0", "id": "web", "annotations": {"ключ": "\udcff"}}
    assert main(["--root", "/r", "state", "web"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == layer.result
    assert out.endswith("}\n")
    assert err == ""


@pytest.mark.parametrize(
    ("words", "signal"), [(["web"], 15), (["web", "KILL"], 9), (["web", "9"], 9), (["-s", "9", "web"], 9)]
)
def test_kill_sends_the_signal_and_term_by_default(words, signal, layer):
    assert main(["--root", "/r", "kill", *words]) == 0
    assert layer.calls == [(("/r", "web", signal), {"all": False})]


def test_kill_all_is_told_wherever_the_flag_stands(layer):
    assert main(["--root", "/r", "kill", "--all", "web", "9"]) == 0
    assert main(["--root", "/r", "kill", "web", "9", "-a"]) == 0
    assert layer.calls == [(("/r", "web", 9), {"all": True})] * 2


def test_delete_passes_force_on(layer):
    assert main(["--root", "/r", "delete", "web"]) == 0
    assert main(["--root", "/r", "delete", "web", "--force"]) == 0
    assert layer.calls == [(("/r", "web"), {"force": False}), (("/r", "web"), {"force": True})]


def test_regex_acts_on_every_match_and_only_on_those(layer):
    layer.containers = [{"id": name} for name in ("web-1", "web-2", "db")]
    assert main(["--root", "/r", "delete", "--regex", "--force", "^web-"]) == 0
    assert [call[0][1] for call in layer.calls] == ["web-1", "web-2"]
    layer.calls.clear()
    assert main(["--root", "/r", "kill", "-r", "b$", "9"]) == 0
    assert layer.calls == [(("/r", "db", 9), {"all": False})]


def test_regex_goes_on_after_a_failure_and_reports_each(layer, monkeypatch, capfd):
    layer.containers = [{"id": "a"}, {"id": "b"}]

    def refuse(root, container_id, force):
        layer.calls.append(container_id)
        raise errors.ContainerNotRunning(container_id)

    monkeypatch.setattr(sys.modules["ocirt.container.delete"], "delete", refuse)
    assert main(["--root", "/r", "delete", "-r", "."]) == 1
    assert layer.calls == ["a", "b"]
    err = capfd.readouterr().err
    assert 'container "a"' in err
    assert 'container "b"' in err
    assert err.count("\n") == 1


CONTAINERS = [
    {
        "id": "web",
        "pid": 42,
        "status": "running",
        "bundle": "/srv/\x1b[31mweb",
        "created": "2026-01-01T00:00:00Z",
        "owner": "root",
    },
    {
        "id": "a-rather-long-name",
        "pid": 0,
        "status": "stopped",
        "bundle": "/srv/a",
        "created": "2026-01-01T00:00:00Z",
        "owner": "1000",
    },
]


def test_list_prints_a_table_with_aligned_columns_and_no_control_characters(layer, capfd):
    layer.containers = CONTAINERS
    assert main(["--root", "/r", "list"]) == 0
    head, web, other = capfd.readouterr().out.splitlines()
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert web.index("42") == head.index("PID") == other.index("0 ")
    assert web.split()[3] == "/srv/\\x1b[31mweb"


def test_list_prints_the_head_of_the_table_when_there_is_none(layer, capfd):
    assert main(["--root", "/r", "list"]) == 0
    assert capfd.readouterr().out.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]


@pytest.mark.parametrize("words", [["--format", "json"], ["--format=json"], ["-f", "json"], ["-fjson"]])
@pytest.mark.parametrize("containers", [[], CONTAINERS])
def test_list_prints_json(words, containers, layer, capfd):
    layer.containers = containers
    assert main(["--root", "/r", "list", *words]) == 0
    assert json.loads(capfd.readouterr().out) == containers


def test_list_tells_what_it_passed_over_only_with_debug(layer, capfd):
    assert main(["--root", "/r", "list", "-q"]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["--root", "/r", "--debug", "list", "-q"]) == 0
    assert "skipped a foreign entry" in capfd.readouterr().err


@pytest.mark.parametrize(("containers", "out"), [([], ""), (CONTAINERS, "web\na-rather-long-name\n")])
def test_list_quiet_prints_ids_alone(containers, out, layer, capfd):
    layer.containers = containers
    assert main(["--root", "/r", "list", "-q"]) == 0
    assert capfd.readouterr().out == out


def test_version_has_the_lines_that_docker_and_cri_o_read(capfd):
    assert main(["--version"]) == 0
    out, err = capfd.readouterr()
    first, commit, spec, *rest = out.splitlines()
    assert re.fullmatch(r"ocirt version \d+\.\d+\.\d+", first)
    assert re.fullmatch(r"commit: \w+", commit)
    assert spec == "spec: 1.3.0"
    assert not any("version" in line for line in rest)
    assert err == ""
    for words in (["-v"], ["-V"], ["version"], ["--version", "anything"]):
        assert main(words) == 0
        assert capfd.readouterr().out == out


def test_the_version_is_the_one_of_the_package():
    from ocirt import __version__

    path = os.path.join(os.path.dirname(__file__), "../../../pyproject.toml")
    with open(path, encoding="utf-8") as file:
        assert re.search(r'^version = "(.*)"$', file.read(), re.MULTILINE)[1] == __version__


# -- errors ------------------------------------------------------------------------------------------------------

FAILURES = [
    (errors.ContainerNotFound("web"), 1, 'container "web": container does not exist'),
    (errors.ContainerNotRunning("web"), 1, 'container "web": container not running (it is stopped)'),
    (errors.ExecError('exec: "x": executable file not found'), 1, 'exec: "x": executable file not found'),
    (errors.SystemCallError('mkdir "/run/ocirt"', 13), 1, 'mkdir "/run/ocirt": permission denied'),
    (PermissionError(13, "Permission denied", "/run/ocirt"), 1, '"/run/ocirt": permission denied'),
    (OSError(28, "No space left on device"), 1, "no space left on device"),
    (BrokenPipeError(32, "Broken pipe"), 1, "broken pipe"),
    (KeyboardInterrupt(), 1, "interrupted"),
    (MemoryError(), 1, "out of memory"),
    (ModuleNotFoundError("No module named 'x'"), 1, "the installation is incomplete: No module named 'x'"),
    (RecursionError("maximum recursion depth exceeded"), 1, "nested too deeply"),
    (ValueError("no\nsuch\tthing"), 1, "internal error: ValueError: no\\nsuch\\tthing"),
    (errors.ContainerError("an id with \x1b[2J and \u202e in it"), 1, "an id with \\x1b[2J and \\u202e in it"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "code", "message"), FAILURES, ids=lambda value: type(value).__name__)
def test_each_error_is_one_line_on_standard_error_and_one_record_in_the_log(
    error, code, message, layer, tmp_path, capfd
):
    layer.error = error
    log = tmp_path / "log.json"
    assert main(["--root", "/r", "--log", str(log), "--log-format", "json", "start", "web"]) == code
    assert capfd.readouterr() == ("", f"ocirt: {message}\n")
    [record] = records(log)
    assert sorted(record) == ["level", "msg", "time"]
    assert record["level"] == "error"
    assert record["msg"] == message
    assert RFC3339.fullmatch(record["time"])


def test_several_problems_are_a_line_each_on_standard_error_and_still_one_record(layer, tmp_path, capfd):
    layer.error = errors.ConfigError([errors.Problem("/a", "one", 3), errors.Problem("/b", "two")])
    log = tmp_path / "log"
    assert main(["--root", "/r", "--log", str(log), "--log-format=json", "create", "-b", "/", "web"]) == 1
    assert capfd.readouterr().err == "ocirt: config.json:3: /a: one\nocirt: config.json: /b: two\n"
    [record] = records(log)
    assert record["msg"] == "config.json:3: /a: one; config.json: /b: two"


def test_the_log_is_appended_to(layer, tmp_path):
    log = tmp_path / "log"
    log.write_text('{"level": "error"}\n')
    layer.error = errors.OcirtError("second")
    main(["--root", "/r", f"--log=file:{log}", "--log-format=json", "start", "web"])
    assert [record.get("msg") for record in records(log)] == [None, "second"]


def test_success_leaves_no_log_and_no_word(layer, tmp_path, capfd):
    assert main(["--root", "/r", "--log", str(tmp_path / "log"), "--log-format", "json", "start", "web"]) == 0
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "log").exists()


def test_the_text_format_is_one_line_with_level_and_time(layer, tmp_path):
    log = tmp_path / "log"
    layer.error = errors.OcirtError('say "no"')
    main(["--root", "/r", "--log", str(log), "start", "web"])
    [line] = log.read_text().splitlines()
    assert re.fullmatch(rf'time="{RFC3339.pattern}" level=error msg="say \\"no\\""', line)


@pytest.mark.parametrize("words", [["--nonsense"], ["nonsense"], ["create"], ["create", "--nonsense"], ["--root"]])
def test_a_wrong_command_line_reaches_the_log_too(words, layer, tmp_path, capfd):
    log = tmp_path / "log"
    assert main(["--log", str(log), "--log-format", "json", *words]) == 2
    [record] = records(log)
    assert capfd.readouterr().err.splitlines()[0] == f"ocirt: {record['msg']}"


def test_a_log_that_cannot_be_written_does_not_hide_the_error(layer, capfd):
    layer.error = errors.OcirtError("the cause")
    assert main(["--root", "/r", "--log", "/nonexistent/log", "start", "web"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        "ocirt: the cause",
        'ocirt: log "/nonexistent/log": no such file or directory',
    ]


def test_a_log_that_is_standard_error_is_written_once(layer, capfd):
    layer.error = errors.OcirtError("the cause")
    assert main(["--root", "/r", "--log", "/dev/stderr", "--log-format", "json", "start", "web"]) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert json.loads(line)["msg"] == "the cause"


@pytest.mark.parametrize("debug", [["--debug"], ["--log-level", "debug"]])
def test_debug_adds_the_traceback_and_says_it_where_the_log_goes(debug, layer, tmp_path, capfd):
    layer.error = ValueError("oops")
    assert main(["--root", "/r", *debug, "start", "web"]) == 1
    assert "Traceback (most recent call last):" in capfd.readouterr().err
    log = tmp_path / "log"
    assert main(["--root", "/r", *debug, "--log", str(log), "--log-format", "json", "start", "web"]) == 1
    assert capfd.readouterr().err == "ocirt: internal error: ValueError: oops\n"
    found = records(log)
    assert [record["level"] for record in found].count("error") == 1
    assert any("Traceback" in record["msg"] for record in found)


def test_a_closed_standard_error_changes_no_exit_code(layer):
    layer.error = errors.OcirtError("nobody hears this")
    saved = os.dup(2)
    try:
        os.close(2)
        assert main(["--root", "/r", "start", "web"]) == 1
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def test_a_reader_that_has_gone_is_an_error_without_a_traceback(layer, capfd):
    read, write = os.pipe()
    saved = os.dup(1)
    os.close(read)
    os.dup2(write, 1)
    try:
        assert main(["--version"]) == 1
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(write)
    assert capfd.readouterr().err == "ocirt: broken pipe\n"


WORDS = st.one_of(
    st.text(st.characters(exclude_characters="/"), max_size=12),
    st.sampled_from([*VERBS, *(f"--{flag[0]}" for verb in VERBS.values() for flag in verb[2])]),
    st.sampled_from(["--", "-", "--log", "--root=r", "-h", "--debug", "--log-format=json", "-v", "=", "--=", "\0"]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORDS, max_size=7))
def test_no_command_line_makes_main_raise_or_print_a_traceback(words, layer, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    layer.result = {}
    code = main(words)
    assert type(code) is int or "run" in words
    assert "Traceback" not in capfd.readouterr().err or "--debug" in words
