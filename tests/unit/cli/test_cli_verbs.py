"""What each verb makes of its flags and arguments, and what it prints."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from ocirt import errors
from ocirt.cli.main import main
from ocirt.cli.options import VERBS


def fields(record):
    return {name: getattr(record, name) for name in record.__slots__}


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
@pytest.mark.parametrize("verb", ["validate", "explain", "spec"])
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


UPDATES = [
    ([], {}),
    (["--memory", "50M", "--memory-swap=-1"], {"memory": {"limit": 52428800, "swap": -1}}),
    (["--memory", "1.5GiB"], {"memory": {"limit": 1610612736}}),
    (["--memory=512", "--memory-reservation=1k"], {"memory": {"limit": 512, "reservation": 1024}}),
    (["--cpuset-cpus", "0-1", "--cpuset-mems", ""], {"cpu": {"cpus": "0-1"}}),
    (["--cpu-share=7", "--cpu-quota=-1"], {"cpu": {"shares": 7, "quota": -1}}),
    (["--pids-limit", "0", "--blkio-weight", "10"], {"pids": {"limit": -1}, "blockIO": {"weight": 10}}),
]


@pytest.mark.parametrize(("words", "resources"), UPDATES, ids=str)
def test_update_makes_resources_of_its_flags(words, resources, layer):
    assert main(["--root", "/r", "update", *words, "web"]) == 0
    assert layer.calls[0][0][:3] == ("/r", "web", resources)


def test_update_hands_on_the_lines_for_the_class_of_service(layer):
    assert main(["--root", "/r", "update", "--l3-cache-schema", "L3:0=f", "--mem-bw-schema=MB:0=50", "web"]) == 0
    assert layer.calls[0][0][4] == ["L3:0=f", "MB:0=50"]


BAD_UPDATES = [
    (["--memory", "much"], 'flag --memory: "much" is not a number of bytes, such as 50M or -1'),
    (["--memory", "-2M"], 'flag --memory: "-2M" is not a number of bytes, such as 50M or -1'),
    (["--memory", "9" * 400], f'flag --memory: "{"9" * 400}" is not a number of bytes, such as 50M or -1'),
    (["--pids-limit", "1k"], 'flag --pids-limit: "1k" is not a number'),
    (["--cpu-quota", "1.5"], 'flag --cpu-quota: "1.5" is not a number'),
]


@pytest.mark.parametrize(("words", "message"), BAD_UPDATES, ids=str)
def test_update_refuses_values_that_are_none(words, message, layer, capfd):
    assert main(["--root", "/r", "update", *words, "web"]) == 2
    assert capfd.readouterr().err.startswith(f"ocirt: update: {message}\n")
    assert layer.calls == []


def test_update_reads_resources_from_a_file_and_names_one_that_is_not_there(layer, tmp_path, capfd):
    (tmp_path / "limits").write_text('{"pids": {"limit": 3}}')
    assert main(["--root", "/r", "update", "-r", f"{tmp_path}/limits", "web"]) == 0
    assert layer.calls == [(("/r", "web", {"pids": {"limit": 3}}), {"schemata": []})]
    assert main(["--root", "/r", "update", "--resources", f"{tmp_path}/none", "web"]) == 1
    assert capfd.readouterr().err == f'ocirt: cannot read "{tmp_path}/none": no such file or directory\n'


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
