"""The table of options and its parser: every spelling that engines and people use, and every flag of the peers."""

from __future__ import annotations

import pytest

from ocirt.cli.options import BOOLEANS, GLOBAL, HELP, VERBS, VERSION, parse
from ocirt.errors import UsageError

# Both peers' flags: those of Debian 12's runc 1.1.5 and crun 1.8.1, and of their main branches in 2026.
# program, verb ("" for global), flags without a value, flags with one
PEERS = [
    ("runc", "", "--debug --systemd-cgroup --help -h --version -v", "--log --log-format --root --criu --rootless"),
    ("runc", "create", "--no-pivot --no-new-keyring --help -h",
     "--bundle -b --console-socket --pidfd-socket --pid-file --preserve-fds"),
    ("runc", "run", "--detach -d --keep --no-subreaper --no-pivot --no-new-keyring --help -h",
     "--bundle -b --console-socket --pidfd-socket --pid-file --preserve-fds"),
    ("runc", "start", "--help -h", ""),
    ("runc", "state", "--help -h", ""),
    ("runc", "kill", "--all -a --help -h", ""),
    ("runc", "delete", "--force -f --help -h", ""),
    ("runc", "pause", "--help -h", ""),
    ("runc", "events", "--stats --help -h", "--interval"),
    ("runc", "ps", "--help -h", "--format -f"),
    ("runc", "resume", "--help -h", ""),
    ("runc", "update", "--help -h",
     "--resources -r --blkio-weight --cpu-period --cpu-quota --cpu-burst --cpu-share --cpu-rt-period --cpu-rt-runtime "
     "--cpuset-cpus --cpuset-mems --kernel-memory --kernel-memory-tcp --memory --cpu-idle --memory-reservation "
     "--memory-swap --pids-limit --l3-cache-schema --mem-bw-schema"),
    ("runc", "list", "--quiet -q --help -h", "--format -f"),
    ("runc", "spec", "--rootless --help -h", "--bundle -b"),
    ("runc", "features", "--help -h", ""),
    ("crun", "", "--debug --systemd-cgroup --help -? --usage --version -v -V",
     "--cgroup-manager --log --log-format --log-level --root --rootless"),
    ("crun", "create", "--no-new-keyring --no-pivot --no-subreaper --help -? --usage",
     "--bundle -b --console-socket --config -f --pid-file --preserve-fds"),
    ("crun", "run", "--detach -d --keep --no-new-keyring --no-pivot --no-subreaper --help -? --usage",
     "--bundle -b --console-socket --config -f --pid-file --preserve-fds"),
    ("crun", "start", "--help -? --usage", ""),
    ("crun", "state", "--help -? --usage", ""),
    ("crun", "kill", "--all -a --regex -r --help -? --usage", ""),
    ("crun", "delete", "--force -f --regex -r --help -? --usage", ""),
    ("crun", "pause", "--help -? --usage", ""),
    ("crun", "ps", "--help -? --usage", "--format -f"),
    ("crun", "resume", "--help -? --usage", ""),
    ("crun", "update", "--help -? --usage",
     "--resources -r --blkio-weight --cpu-period --cpu-quota --cpu-share --cpu-rt-period --cpu-rt-runtime "
     "--cpuset-cpus --cpuset-mems --kernel-memory --kernel-memory-tcp --memory --memory-reservation --memory-swap "
     "--pids-limit "
     "--l3-cache-schema --mem-bw-schema"),
    ("crun", "list", "--quiet -q --help -? --usage", "--format -f"),
    ("crun", "spec", "--rootless --help -? --usage", "--bundle -b --file -f"),
    ("crun", "features", "--help -? --usage", ""),
]  # fmt: skip


def flags_of(verb: str):
    return VERBS[verb][2] + GLOBAL + HELP if verb else GLOBAL + VERSION + HELP


def parsed(verb: str, *words: str, mixed: bool = True):
    options = {}
    return options, parse(flags_of(verb), words, verb, options, mixed)


@pytest.mark.parametrize(("program", "verb", "bare", "valued"), PEERS, ids=lambda value: str(value)[:8])
def test_every_flag_of_both_peers_is_known_and_takes_a_value_when_theirs_does(program, verb, bare, valued):
    for flag in bare.split():
        options, rest = parsed(verb, flag, "next")
        assert list(options.values()) == [True], (program, flag)
        assert rest == ["next"], (program, flag)
    for flag in valued.split():
        options, rest = parsed(verb, flag, "next")
        assert list(options.values()) == ["next"], (program, flag)
        assert rest == [], (program, flag)


SPELLINGS = [
    (["--bundle", "/b", "x"], {"bundle": "/b"}, ["x"]),
    (["--bundle=/b", "x"], {"bundle": "/b"}, ["x"]),
    (["-b", "/b", "x"], {"bundle": "/b"}, ["x"]),
    (["-b/b", "x"], {"bundle": "/b"}, ["x"]),
    (["-b=/b", "x"], {"bundle": "/b"}, ["x"]),
    (["--b", "/b", "x"], {"bundle": "/b"}, ["x"]),
    (["-bundle", "/b", "x"], {"bundle": "/b"}, ["x"]),
    (["-bundle=/b", "x"], {"bundle": "/b"}, ["x"]),
    (["--bundle=", "x"], {"bundle": ""}, ["x"]),
    (["--bundle=a=b", "x"], {"bundle": "a=b"}, ["x"]),
    (["--bundle", "-", "x"], {"bundle": "-"}, ["x"]),
    (["--bundle", "--keep", "x"], {"bundle": "--keep"}, ["x"]),
    (["-no-subreaper", "x"], {"no_subreaper": True}, ["x"]),
    (["--no-subreaper", "x"], {"no_subreaper": True}, ["x"]),
    (["--keep=false", "x"], {"keep": False}, ["x"]),
    (["--keep=true", "x"], {"keep": True}, ["x"]),
    (["-d=0", "x"], {"detach": False}, ["x"]),
    (["-db/b", "x"], {"detach": True, "bundle": "/b"}, ["x"]),
    (["-db", "/b", "x"], {"detach": True, "bundle": "/b"}, ["x"]),
    (["--keep", "--keep=false", "x"], {"keep": False}, ["x"]),
    (["--bundle=1", "--bundle=2", "x"], {"bundle": "2"}, ["x"]),
    (["x", "--keep"], {"keep": True}, ["x"]),
    (["x", "-b", "/b"], {"bundle": "/b"}, ["x"]),
    (["--", "--keep"], {}, ["--keep"]),
    (["--keep", "--", "-x", "--"], {"keep": True}, ["-x", "--"]),
    (["-"], {}, ["-"]),
    ([""], {}, [""]),
    (["--root", "/r", "x"], {"root": "/r"}, ["x"]),
]


@pytest.mark.parametrize(("words", "options", "rest"), SPELLINGS, ids=" ".join)
def test_each_spelling_of_a_flag_is_understood(words, options, rest):
    assert parsed("run", *words) == (options, rest)


def test_short_flags_without_a_value_may_share_a_dash():
    assert parsed("delete", "-fr", "x") == ({"force": True, "regex": True}, ["x"])


def test_global_flags_end_at_the_verb():
    options, rest = parsed("", "--debug", "run", "--keep", "--root", "x", mixed=False)
    assert options == {"debug": True}
    assert rest == ["run", "--keep", "--root", "x"]


@pytest.mark.parametrize(("word", "value"), BOOLEANS.items())
def test_a_flag_without_a_value_accepts_what_go_calls_a_boolean(word, value):
    assert parsed("run", f"--keep={word}") == ({"keep": value}, [])


REFUSED = [
    ("run", ["--bundel", "x"], 'unknown flag "--bundel"; did you mean --bundle?'),
    ("run", ["--bundel=/b"], 'unknown flag "--bundel"; did you mean --bundle?'),
    ("run", ["-x"], 'unknown flag "-x"'),
    ("run", ["-dx"], 'unknown flag "-x"'),
    ("run", ["-d-"], 'unknown flag "--"'),
    ("run", ["---keep"], 'unknown flag "---keep"; did you mean --keep?'),
    ("run", ["--=x"], 'unknown flag "--"'),
    ("run", ["-=x"], 'unknown flag "-"'),
    ("kill", ["x", "-9"], 'unknown flag "-9"; the signal goes behind the ID: ocirt kill ID 9'),
    ("kill", ["-KILL", "x"], 'unknown flag "-KILL"; the signal goes behind the ID: ocirt kill ID KILL'),
    ("delete", ["-9", "x"], 'unknown flag "-9"'),
    ("", ["--bundle", "/b"], 'unknown flag "--bundle"; it goes after the verb: create, run, spec, validate, explain'),
    ("run", ["--keep=maybe"], 'flag --keep: "maybe" is neither true nor false'),
    ("run", ["--keep="], 'flag --keep: "" is neither true nor false'),
]


@pytest.mark.parametrize(("verb", "words", "message"), REFUSED, ids=str)
def test_what_is_not_a_flag_is_refused_with_words_that_help(verb, words, message):
    with pytest.raises(UsageError) as caught:
        parsed(verb, *words)
    assert str(caught.value) == message
    assert caught.value.verb == verb


@pytest.mark.parametrize("words", [["--bundle"], ["x", "-b"], ["-db"], ["--keep", "-bundle"]])
def test_a_missing_value_is_told_in_both_phrases_that_engines_look_for(words):
    with pytest.raises(UsageError) as caught:
        parsed("run", *words)
    assert "flag needs an argument" in str(caught.value)
    assert "requires an argument" in str(caught.value)


def test_the_options_read_before_a_mistake_are_kept():
    options = {}
    with pytest.raises(UsageError):
        parse(flags_of(""), ["--log", "/l", "--nonsense"], "", options)
    assert options == {"log": "/l"}


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_no_two_flags_of_a_verb_share_a_name_a_letter_or_a_key(verb):
    flags = (VERBS[verb][2] if verb else GLOBAL + VERSION) + HELP
    names = [flag[0] for flag in flags]
    letters = [letter for flag in flags for letter in flag[1]]
    keys = [flag[3] for flag in flags_of(verb)]
    assert len(names) == len(set(names))
    assert len(letters) == len(set(letters))
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("flag", [flag for verb in ["", *VERBS] for flag in flags_of(verb)], ids=lambda flag: flag[0])
def test_every_flag_says_what_it_does_and_names_its_value(flag):
    assert flag[4]
    assert not flag[4].endswith(".")
    assert bool(flag[5]) == flag[2]
