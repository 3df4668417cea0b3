"""What is wrong before anything exists: the command line, the id, the bundle, its config.json. Each has its message.

The `runtime` fixture checks after every test that nothing is left behind, be it state, cgroup, process or open file.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import BASE, Result, Runtime, merged, needs_open_way
from tests.unit.config.changes import Patch
from tests.unit.config.invalid import INVALID, TAKEN

NOBODY: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
LIBRARY_WORDS = ("Traceback", "Error:", "internal error", "None", "object at 0x")


def refused(result: Result, *words: str, code: int = 1) -> str:
    """The first line of a refusal, which holds all the words; standard output is empty, and nothing leaks of Python."""
    assert result.code == code, result
    assert result.stdout == ""
    first, *rest = result.stderr.splitlines()
    assert first.startswith("ocirt: ")
    for word in words:
        assert word in first
    for word in LIBRARY_WORDS:
        assert word not in result.stderr
    if code == 2:
        assert [line.partition(":")[0] for line in rest] == ["usage", "more"]
    return first


ConfigOnly = Callable[..., Path]


@pytest.fixture
def config_only(scratch: Path) -> ConfigOnly:
    """A factory of bundles that hold a config.json alone, of bytes or of the base config changed: nothing runs."""

    def make(content: bytes | Callable[[dict[str, Any]], object] | None = None) -> Path:
        if not isinstance(content, bytes):
            config = merged(BASE, {"linux": {"maskedPaths": None, "readonlyPaths": None}})
            if content is not None:
                content(config)
            content = json.dumps(config, indent=2).encode()
        (scratch / "config.json").write_bytes(content)
        return scratch

    return make


# ---- the command line ------------------------------------------------------------------------------------------------

WRONG_WORDS: list[tuple[list[str], str]] = [
    ([], "missing argument: VERB"),
    (["frobnicate"], 'unknown command "frobnicate"'),
    (["crate", "x"], 'unknown command "crate"; did you mean "create"?'),
    ([""], 'unknown command ""'),
    (["mounts", "x"], 'command "mounts" is not part of this version'),
    (["checkpoint", "--help"], 'command "checkpoint" is not part of this version'),
    (["help", "frobnicate"], 'help: unknown command "frobnicate"'),
    (["--frobnicate", "list"], 'unknown flag "--frobnicate"'),
    (["--bundle", ".", "create", "x"], 'unknown flag "--bundle"; it goes after the verb: create, run'),
    (["--log"], "flag needs an argument: --log requires an argument (FILE)"),
    (["--log-format", "xml", "list"], 'flag --log-format: "xml" is not one of text, json'),
    (["--log-level=chatty", "list"], 'flag --log-level: "chatty" is not one of error, warning, debug'),
    (["--log", "journald:x\n", "list"], "flag --log: the name has control characters"),
    (["--debug=perhaps", "list"], 'flag --debug: "perhaps" is neither true nor false'),
    (["--cgroup-manager", "x", "list"], 'flag --cgroup-manager: "x" is not one of cgroupfs, systemd, disabled'),
    (["--rootless", "perhaps", "list"], 'flag --rootless: "perhaps" is not one of true, false, auto'),
    (["--root=", "list"], "flag --root: the path is empty"),
    (["create"], "create: missing argument: ID"),
    (["create", "--"], "create: missing argument: ID"),
    (["create", "a", "b"], 'create: unexpected argument "b"'),
    (["create", "--bundel", ".", "x"], 'create: unknown flag "--bundel"; did you mean --bundle?'),
    (["create", "-z", "x"], 'create: unknown flag "-z"'),
    (["create", "--pid-file"], "create: flag needs an argument: --pid-file requires an argument (FILE)"),
    (["create", "--no-pivot=perhaps", "x"], 'create: flag --no-pivot: "perhaps" is neither true nor false'),
    (["create", "--preserve-fds", "-1", "x"], 'create: flag --preserve-fds: "-1" is not a number from 0 to 1048576'),
    (["create", "--preserve-fds=", "x"], 'create: flag --preserve-fds: "" is not a number from 0 to'),
    (["run", "--preserve-fds", "9" * 99, "x"], 'run: flag --preserve-fds: "999'),
    (["run"], "run: missing argument: ID"),
    (["start"], "start: missing argument: ID"),
    (["start", "--detach", "x"], 'start: unknown flag "--detach"'),
    (["start", "a", "b"], 'start: unexpected argument "b"'),
    (["state"], "state: missing argument: ID"),
    (["delete"], "delete: missing argument: ID"),
    (["delete", "--regex", "("], 'delete: regular expression "(": missing )'),
    (["kill"], "kill: missing argument: ID"),
    (
        ["kill", "x", "FROB"],
        'kill: unknown signal "FROB": expected a signal name (TERM, SIGKILL) or a number from 0 to 64',
    ),
    (["kill", "x", "SIGFROB"], 'kill: unknown signal "SIGFROB"'),
    (["kill", "x", "65"], 'kill: unknown signal "65"'),
    (["kill", "x", ""], 'kill: unknown signal ""'),
    (["kill", "x", "9x"], 'kill: unknown signal "9x"'),
    (["kill", "x", "RTMIN+31"], 'kill: unknown signal "RTMIN+31"'),
    (["kill", "x", "99999999999999999999"], 'kill: unknown signal "99999999999999999999"'),
    (["kill", "-9", "x"], 'kill: unknown flag "-9"; the signal goes behind the ID: ocirt kill ID 9'),
    (["kill", "-s", "9", "x", "9"], "kill: the signal is given twice"),
    (["kill", "x", "TERM", "9"], 'kill: unexpected argument "9"'),
    (["list", "x"], 'list: unexpected argument "x"'),
    (["list", "--format", "yaml"], 'list: flag --format: "yaml" is not one of table, json'),
    (["features", "x"], 'features: unexpected argument "x"'),
    (["validate", "--bundle", "/", "/"], "validate: the bundle is given twice"),
    (["completion", "csh"], 'completion: no completion for the shell "csh", only for bash, zsh, fish'),
]


@pytest.mark.parametrize(("words", "message"), WRONG_WORDS, ids=[" ".join(words) for words, _ in WRONG_WORDS])
def test_a_wrong_command_line_is_told_with_the_usage_and_exits_2(
    words: list[str], message: str, runtime: Runtime
) -> None:
    refused(runtime.run(*words), f"ocirt: {message}", code=2)


BAD_IDS = {
    "": "the container ID is empty",
    ".": 'container ID "." is the name of a directory',
    "..": 'container ID ".." is the name of a directory',
    "../x": """container ID '../x': '/' is not a letter, a digit or one of "_+.-\"""",
    "a b": "container ID 'a b': ' ' is not a letter",
    "a\nb": r"container ID 'a\nb': '\n' is not a letter",
    "\x1b[2J": r"container ID '\x1b[2J': '\x1b' is not a letter",
    "zoë": "container ID 'zoë': 'ë' is not a letter",
    "\udcff": r"container ID '\udcff': '\udcff' is not a letter",
    "x" * 256: "the container ID has 256 characters, at most 255 are allowed",
}


@pytest.mark.parametrize("container_id", BAD_IDS, ids=ascii)
def test_a_bad_id_is_refused_by_every_verb_in_the_same_words(
    container_id: str, runtime: Runtime, config_only: ConfigOnly
) -> None:
    bundle = str(config_only())
    for command in (["create", "-b", bundle], ["run", "-b", bundle], ["state"], ["start"], ["kill"], ["delete"]):
        refused(runtime.run(*command, container_id), BAD_IDS[container_id])
    refused(runtime.run("delete", "--force", container_id), BAD_IDS[container_id])


# ---- the bundle and its config.json ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "change", "pointer", "words"), INVALID, ids=[case[0] for case in INVALID])
def test_an_invalid_config_is_told_with_line_pointer_and_reason(
    name: str, change: Patch, pointer: str, words: str, runtime: Runtime, config_only: ConfigOnly
) -> None:
    bundle = str(config_only(change))
    result = runtime.run(*(["validate", "--strict", bundle] if name in TAKEN else ["create", "--bundle", bundle, "x"]))
    line = refused(result, f": {pointer}: ", words)
    assert line.startswith("ocirt: config.json:")
    assert result.stderr.count("\n") == 1


TRAILING_COMMA = "config.json:2:9: illegal trailing comma before end of object"
NOT_JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "config.json:1:1: the file is empty"),
    "blank": (b" \n\t\n", "config.json:1:1: the file is empty"),
    "cut off": (b'{\n  "ociVersion": "1.', "config.json:2:17: unterminated string"),
    "a comma too many": (b'{\n  "a": 1,\n}', TRAILING_COMMA),
    "a comma missing": (b'{"a": 1\n "b": 2}', "config.json:2:2: expecting ',' delimiter"),
    "a colon missing": (b'{"a" 1}', "config.json:1:6: expecting ':' delimiter"),
    "a comment": (b'{"a": 1 // one\n}', "config.json:1:9: expecting ',' delimiter"),
    "single quotes": (b"{'a': 1}", "config.json:1:2: expecting property name enclosed in double quotes"),
    "yaml": (b"ociVersion: 1.3.0\n", "config.json:1:1: expecting value"),
    "two documents": (b"{}\n{}", "config.json:2:1: extra data"),
    "a line break in a string": (b'{"a": "x\ny"}', "config.json:1:9: invalid control character"),
    "a bad escape": (rb'{"a": "\x41"}', "config.json:1:8: invalid \\escape"),
    "NaN": (b'{"a": NaN}', "config.json:1:7: NaN is not JSON"),
    "-Infinity": (b'{"a": -Infinity}', "config.json:1:7: -Infinity is not JSON"),
    "1e999": (b'{"a": 1e999}', "config.json:1:7: 1e999 is too large for a number"),
    "a number of 5000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "config.json:1:7: a number of 5000 digits is too long"),
    "a leading zero": (b'{"a": 01}', "config.json:1:8: expecting ',' delimiter"),
    "arrays 100000 deep": (b"[" * 100_000 + b"]" * 100_000, "config.json: arrays and objects are nested too deep"),
    "objects 50000 deep": (b'{"a":' * 50_000, "config.json: arrays and objects are nested too deep"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "config.json:1:1: begins with a byte order mark; save the file as UTF-8"),
    "UTF-16": ("{}".encode("utf-16"), "config.json:1:1: is UTF-16, must be UTF-8"),
    "Latin-1": ('{\n "a": "zoë"}'.encode("latin-1"), "config.json:2:10: byte 0xeb is not UTF-8"),
    "a nul byte": (b'{"a": "\0"}', "config.json:1:8: invalid control character"),
    "nul bytes": (bytes(100), "config.json:1:1: expecting value"),
    "an array": (b"[]", 'config.json" must hold a JSON object'),
    "null": (b"null", 'config.json" must hold a JSON object'),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_broken_json_is_told_with_line_and_column(case: str, runtime: Runtime, config_only: ConfigOnly) -> None:
    content, message = NOT_JSON[case]
    bundle = str(config_only(content))
    for verb in (["create", "--bundle", bundle, "x"], ["validate", bundle], ["explain", bundle]):
        refused(runtime.run(*verb), message)


def test_a_broken_file_given_by_config_is_called_by_its_name(runtime: Runtime, scratch: Path) -> None:
    (scratch / "other.json").write_text('{"a": }')
    refused(runtime.run("create", "-f", str(scratch / "other.json"), "x"), "ocirt: other.json:1:7: expecting value")


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 32)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


IN_PLACE_OF_CONFIG: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, "no such file or directory"),
    "a directory": (Path.mkdir, "is not a regular file"),
    "a fifo": (os.mkfifo, "is not a regular file"),
    "a socket": (unix_socket, "no such device or address"),
    "an endless device": (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    "a link to nothing": (lambda path: path.symlink_to("/no/such"), "no such file or directory"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
    "a file of 4 GiB": (sparse, "is larger than 64 MiB"),
}


@pytest.mark.parametrize("case", IN_PLACE_OF_CONFIG)
def test_what_is_no_config_file_is_refused_at_once(case: str, runtime: Runtime, scratch: Path) -> None:
    make, message = IN_PLACE_OF_CONFIG[case]
    make(scratch / "config.json")
    refused(runtime.run("create", "--bundle", str(scratch), "x", timeout=5), f'"{scratch}/config.json"', message)


def test_a_config_that_the_user_may_not_read_is_named(runtime: Runtime, config_only: ConfigOnly) -> None:
    path = config_only() / "config.json"
    path.chmod(0o600)
    needs_open_way(runtime.program)
    result = runtime.run("create", "--bundle", str(path.parent), "x", **NOBODY)
    refused(result, f'cannot read "{path}": permission denied')


def test_an_ordinary_user_without_a_place_for_state_is_told(runtime: Runtime, config_only: ConfigOnly) -> None:
    needs_open_way(runtime.program)
    result = runtime.run("--root", "/root/x", "create", "--bundle", str(config_only()), "x", **NOBODY)
    refused(result, 'make the state root "/root/x": permission denied')


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [("/no/such", "no such file or directory"), ("/etc/passwd", "not a directory"), ("/" + "x" * 300, "too long")],
)
def test_a_bundle_that_is_no_directory_is_named(bundle: str, reason: str, runtime: Runtime) -> None:
    for verb in ("create", "run", "spec"):
        arguments = ["--bundle", bundle] + ["x"] * (verb != "spec")
        refused(runtime.run(verb, *arguments), f'bundle "{bundle}": ', reason)
    for verb in ("validate", "explain"):
        refused(runtime.run(verb, bundle), f'bundle "{bundle}": ', reason)


# ---- places for state and log ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "reason"),
    [("/etc/passwd", "not a directory"), ("/etc/passwd/x", "not a directory"), ("/proc/x", "no such")],
)
def test_a_root_that_cannot_be_made_is_named(root: str, reason: str, runtime: Runtime, config_only: ConfigOnly) -> None:
    bundle = str(config_only())
    refused(runtime.run("--root", root, "create", "--bundle", bundle, "x"), f'make the state root "{root}": {reason}')


def test_a_log_that_cannot_be_written_hides_no_error(runtime: Runtime) -> None:
    result = runtime.run("--log", "/dev/full", "state", "nosuch", check=False)
    assert result.stderr.splitlines() == [
        'ocirt: container "nosuch": container does not exist',
        'ocirt: log "/dev/full": no space left on device',
    ]
