"""main: exit codes, what goes to standard output and standard error, the log, and that nothing escapes."""

from __future__ import annotations

import json
import os
import re
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocirt import errors
from ocirt.cli import hostlog
from ocirt.cli.main import main
from ocirt.cli.options import GLOBAL, VERBS

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


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
    (["--log", "journald:x\n", "list"], "ocirt: flag --log: the name has control characters"),
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


def test_success_leaves_an_empty_log_and_no_word(layer, tmp_path, capfd):
    assert main(["--root", "/r", "--log", str(tmp_path / "log"), "--log-format", "json", "start", "web"]) == 0
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "log").read_bytes() == b""


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
    assert main(["--root", "/r", "--log", "/dev/full", "start", "web"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        "ocirt: the cause",
        'ocirt: log "/dev/full": no space left on device',
    ]


@pytest.mark.parametrize(
    ("log", "reason"), [("/nonexistent/log", "no such file or directory"), ("FIFO", "no such device or address")]
)
def test_a_log_that_cannot_be_opened_ends_the_command(log, reason, layer, tmp_path, capfd):
    os.mkfifo(tmp_path / "fifo")
    log = log.replace("FIFO", str(tmp_path / "fifo"))
    assert main(["--root", "/r", "--log", log, "start", "web"]) == 1
    assert capfd.readouterr().err == f'ocirt: log "{log}": {reason}\n'
    assert layer.calls == []


def test_a_step_that_nobody_can_be_told_changes_nothing(layer):
    saved = os.dup(2)
    try:
        os.close(2)
        assert main(["--root", "/r", "--debug", "start", "web"]) == 0
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@pytest.mark.parametrize(
    ("log", "socket_name", "expected"),
    [
        ("journald:box", "JOURNAL", r"PRIORITY=3\nSYSLOG_IDENTIFIER=box\nID=box\nMESSAGE=the \\ncause\n"),
        ("syslog:box", "SYSLOG", r"<11>box\[\d+\]: the \\ncause"),
        ("syslog:", "SYSLOG", r"<11>ocirt\[\d+\]: the \\ncause"),
    ],
)
def test_the_log_of_the_host_gets_the_error_and_so_does_standard_error(
    log, socket_name, expected, layer, tmp_path, monkeypatch, capfd
):
    layer.error = errors.OcirtError("the \ncause")
    monkeypatch.setattr(hostlog, socket_name, str(tmp_path / "socket"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as host:
        host.bind(str(tmp_path / "socket"))
        assert main(["--root", "/r", "--log", log, "start", "web"]) == 1
        assert re.fullmatch(expected, host.recv(4096, socket.MSG_DONTWAIT).decode())
    assert capfd.readouterr().err == "ocirt: the \\ncause\n"


def test_a_host_without_that_log_is_told_next_to_the_error(layer, tmp_path, monkeypatch, capfd):
    layer.error = errors.OcirtError("the cause")
    monkeypatch.setattr(hostlog, "JOURNAL", str(tmp_path / "none"))
    assert main(["--root", "/r", "--log=journald:box", "start", "web"]) == 1
    assert capfd.readouterr().err == 'ocirt: the cause\nocirt: log "journald:box": no such file or directory\n'


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
