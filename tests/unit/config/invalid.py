"""Configs that must be refused: a change to a valid one, the pointer of what is wrong, and words of the message.

Each change works on any valid config that has a process and a mount namespace (documents.base(), or a bundle's). It
makes one mistake, so that exactly one problem is listed.
"""

from __future__ import annotations

from tests.unit.config.changes import both, drop, mapping, mount, put, without_namespace
from tests.unit.config.invalid_linux import ID_RANGE, LINUX, Case

VERSION: list[Case] = [
    ("no version", drop("/ociVersion"), "/ociVersion", "required, but missing"),
    (
        "a version under a misspelt name",
        both(drop("/ociVersion"), put("/ociversion", "1.0.0")),
        "/ociVersion",
        'is "ociversion" meant to be it?',
    ),
    ("a version of two numbers", put("/ociVersion", "1.0"), "/ociVersion", "must be a SemVer version"),
    ("a version with a leading zero", put("/ociVersion", "1.02.0"), "/ociVersion", "must be a SemVer version"),
    ("a version with an empty pre-release", put("/ociVersion", "1.0.0-"), "/ociVersion", "must be a SemVer version"),
    ("a version with a v", put("/ociVersion", "v1.0.0"), "/ociVersion", "must be a SemVer version"),
    ("a version from before 1.0", put("/ociVersion", "0.9.0"), "/ociVersion", "must be 1.x"),
    ("a version to come", put("/ociVersion", "2.0.0"), "/ociVersion", "must be 1.x"),
    ("a number for a version", put("/ociVersion", 1), "/ociVersion", "found 1, must be a string"),
]

ROOT: list[Case] = [
    ("no root", drop("/root"), "/root", "required, but missing"),
    ("a root without path", put("/root", {}), "/root/path", "required, but missing"),
    ("a root with an empty path", put("/root/path", ""), "/root/path", "is empty"),
    (
        "a text for readonly",
        put("/root/readonly", "true"),
        "/root/readonly",
        'found the string "true", must be true or',
    ),
    ("a root that is a text", put("/root", "rootfs"), "/root", "must be an object"),
    (
        "a read-only root without a mount namespace",
        both(without_namespace("mount"), drop("/mounts"), put("/root/readonly", True)),
        "/root/readonly",
        "needs a namespace of type mount",
    ),
]

PROCESS: list[Case] = [
    ("no args", drop("/process/args"), "/process/args", "required, but missing"),
    ("empty args", put("/process/args", []), "/process/args", "is empty"),
    ("an empty program", put("/process/args", ["", "x"]), "/process/args/0", "is empty"),
    ("args in one text", put("/process/args", "sh"), "/process/args", 'found the string "sh", must be an array'),
    ("a number among args", put("/process/args", ["sleep", 5]), "/process/args/1", "found 5, must be a string"),
    ("no cwd", drop("/process/cwd"), "/process/cwd", "required, but missing"),
    (
        "a misspelt cwd",
        both(drop("/process/cwd"), put("/process/cdw", "/")),
        "/process/cwd",
        'is "cdw" meant to be it?',
    ),
    ("a relative cwd", put("/process/cwd", "tmp"), "/process/cwd", "must be an absolute path"),
    ("an empty cwd", put("/process/cwd", ""), "/process/cwd", "must be an absolute path"),
    ("a variable without value", put("/process/env", ["A=1", "B"]), "/process/env/1", "must be NAME=value"),
    ("a variable without name", put("/process/env", ["=1"]), "/process/env/0", "must be NAME=value"),
    ("null for env", put("/process/env", None), "/process/env", "found null, must be an array"),
    ("no uid", put("/process/user", {"gid": 0}), "/process/user/uid", "required, but missing"),
    ("no gid", put("/process/user", {"uid": 0}), "/process/user/gid", "required, but missing"),
    ("the uid that is none", put("/process/user/uid", 4294967295), "/process/user/uid", ID_RANGE),
    ("a uid of 33 bits", put("/process/user/uid", 4294967296), "/process/user/uid", "found 4294967296"),
    ("a uid below 0", put("/process/user/uid", -1), "/process/user/uid", "found -1, must be an integer from 0"),
    ("a uid as a text", put("/process/user/uid", "1000"), "/process/user/uid", 'found the string "1000"'),
    ("a uid as a fraction", put("/process/user/uid", 1.5), "/process/user/uid", "found 1.5, must be an integer"),
    ("a uid with a point", put("/process/user/uid", 1000.0), "/process/user/uid", "not written as a whole number"),
    ("a uid that is true", put("/process/user/uid", True), "/process/user/uid", "found true, must be an integer"),
    ("the gid that is none", put("/process/user/gid", 4294967295), "/process/user/gid", ID_RANGE),
    (
        "an additional gid that is none",
        put("/process/user/additionalGids", [1, 4294967295]),
        "/process/user/additionalGids/1",
        ID_RANGE,
    ),
    (
        "an unknown limit",
        put("/process/rlimits", [{"type": "RLIMIT_NOFIEL", "soft": 1, "hard": 1}]),
        "/process/rlimits/0/type",
        'did you mean "RLIMIT_NOFILE"?',
    ),
    (
        "a limit in lower case",
        put("/process/rlimits", [{"type": "rlimit_core", "soft": 1, "hard": 1}]),
        "/process/rlimits/0/type",
        'did you mean "RLIMIT_CORE"?',
    ),
    (
        "a limit set twice",
        put("/process/rlimits", [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2),
        "/process/rlimits/1/type",
        '"RLIMIT_CORE" is set by /process/rlimits/0 already',
    ),
    (
        "a soft limit above the hard one",
        put("/process/rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
        "/process/rlimits/0/soft",
        "found 2, must not exceed hard, 1",
    ),
    (
        "a limit without hard",
        put("/process/rlimits", [{"type": "RLIMIT_CORE", "soft": 2}]),
        "/process/rlimits/0/hard",
        "required, but missing",
    ),
    ("too high an oomScoreAdj", put("/process/oomScoreAdj", 1001), "/process/oomScoreAdj", "from -1000 to 1000"),
    (
        "a terminal too wide",
        both(put("/process/terminal", True), put("/process/consoleSize", {"height": 1, "width": 65536})),
        "/process/consoleSize/width",
        "must be from 0 to 65535",
    ),
    (
        "capabilities in one list",
        put("/process/capabilities", ["CAP_KILL"]),
        "/process/capabilities",
        "found an array, must be an object",
    ),
    (
        "a misspelt scheduler",
        put("/process/scheduler", {"policy": "SCHED_FIFA"}),
        "/process/scheduler/policy",
        'did you mean "SCHED_FIFO"?',
    ),
    (
        "a nice value that the kernel would cut",
        put("/process/scheduler", {"policy": "SCHED_OTHER", "nice": 20}),
        "/process/scheduler/nice",
        "found 20, must be from -20 to 19",
    ),
    (
        "a priority for a policy without",
        put("/process/scheduler", {"policy": "SCHED_OTHER", "priority": 1}),
        "/process/scheduler/priority",
        "is for SCHED_FIFO and SCHED_RR, not for SCHED_OTHER",
    ),
    (
        "too high a priority",
        put("/process/scheduler", {"policy": "SCHED_RR", "priority": 100}),
        "/process/scheduler/priority",
        "found 100, must be from 1 to 99",
    ),
    (
        "a deadline for a policy without",
        put("/process/scheduler", {"policy": "SCHED_FIFO", "priority": 1, "deadline": 5}),
        "/process/scheduler/deadline",
        "is for SCHED_DEADLINE, not for SCHED_FIFO",
    ),
    (
        "an I/O priority without priority",
        put("/process/ioPriority", {"class": "IOPRIO_CLASS_BE"}),
        "/process/ioPriority/priority",
        "required, but missing",
    ),
    (
        "a range of CPUs that ends before it starts",
        put("/process/execCPUAffinity", {"initial": "3-1"}),
        "/process/execCPUAffinity/initial",
        "must be a list of numbers such as 0-3,7",
    ),
]

MOUNTS: list[Case] = [
    ("a mount without destination", mount(type="tmpfs"), "/mounts/0/destination", "required, but missing"),
    ("a mount on nothing", mount(destination=""), "/mounts/0/destination", "is empty"),
    (
        "a mount inside /proc",
        mount(destination="/proc/self/attr", type="bind", source="/a"),
        "/mounts/0/destination",
        'found "/proc/self/attr", but no mount is allowed inside /proc',
    ),
    (
        "a mount inside /proc by a detour",
        mount(destination="/tmp/..//proc/./sys/kernel", type="tmpfs"),
        "/mounts/0/destination",
        "no mount is allowed inside /proc",
    ),
    (
        "a tmpfs on /proc",
        mount(destination="/proc/", type="tmpfs"),
        "/mounts/0/destination",
        "only proc or a bind mount is allowed",
    ),
    (
        "a mount with user mappings alone",
        mount(destination="/a", uidMappings=mapping((0, 1000, 1))),
        "/mounts/0/gidMappings",
        "required, but missing: uidMappings needs it",
    ),
    (
        "an idmapped mount without gids",
        mount(destination="/a", source="/b", options=["bind"], uidMappings=mapping((0, 1, 1))),
        "/mounts/0/gidMappings",
        "required, but missing: uidMappings needs it",
    ),
    (
        "an idmapped mount without mappings",
        both(without_namespace("user"), mount(destination="/a", source="/b", options=["bind", "idmap"])),
        "/mounts/0/options/1",
        'option "idmap" needs uidMappings and gidMappings, or a user namespace',
    ),
    (
        "a mount that maps nothing",
        mount(destination="/a", uidMappings=mapping((0, 0, 0)), gidMappings=mapping((0, 0, 1))),
        "/mounts/0/uidMappings/0/size",
        "must be at least 1",
    ),
    ("options in one text", mount(destination="/a", options="ro"), "/mounts/0/options", "must be an array"),
]

NAMES_AND_HOOKS: list[Case] = [
    (
        "a hostname for the host",
        both(without_namespace("uts"), put("/hostname", "a")),
        "/hostname",
        "needs a namespace of type uts",
    ),
    ("a hostname of 65 bytes", put("/hostname", "é" * 32 + "x"), "/hostname", "has 65 bytes, at most 64 fit"),
    ("a hostname with a nul", put("/hostname", "a\0b"), "/hostname", "a nul character"),
    ("a domain name of 65 bytes", put("/domainname", "a" * 65), "/domainname", "has 65 bytes, at most 64 fit"),
    (
        "a relative hook",
        put("/hooks", {"poststop": [{"path": "/a"}, {"path": "b"}]}),
        "/hooks/poststop/1/path",
        "must be an absolute path",
    ),
    (
        "a hook without time",
        put("/hooks", {"prestart": [{"path": "/a", "timeout": 0}]}),
        "/hooks/prestart/0/timeout",
        "must be an integer from 1 up",
    ),
    ("a hook without path", put("/hooks", {"poststart": [{}]}), "/hooks/poststart/0/path", "required, but missing"),
    (
        "a hook's variable without name",
        put("/hooks", {"poststart": [{"path": "/a", "env": ["="]}]}),
        "/hooks/poststart/0/env/0",
        "must be NAME=value",
    ),
    ("an annotation without name", put("/annotations", {"": "x"}), "/annotations/", "the name is empty"),
    ("an annotation that is a number", put("/annotations", {"a": 1}), "/annotations/a", "found 1, must be a string"),
    ("a nul where nobody reads", put("/unknown", {"deep": ["\0"]}), "/unknown/deep/0", "a nul character"),
    ("a name with a nul", put("/annotations", {"a\0": ""}), "/annotations/a\\u0000", "the name has a nul character"),
    ("half a surrogate pair", put("/annotations", {"a": "\ud800"}), "/annotations/a", "half of a surrogate pair"),
]

INVALID: list[Case] = [*VERSION, *ROOT, *PROCESS, *MOUNTS, *NAMES_AND_HOOKS, *LINUX]

# What config/lenient.py makes something of; the specification alone refuses it.
TAKEN = {"null for env", "no gid", "an I/O priority without priority"}
