"""Configs that must be refused: a change to a valid one, the pointer of what is wrong, and words of the message.

Each change works on any valid config that has a process and a mount namespace (documents.base(), or a bundle's). It
makes one mistake, so that exactly one problem is listed.
"""

from __future__ import annotations

from tests.unit.config.documents import Doc, Patch, both, drop, put

Case = tuple[str, Patch, str, str]

ID_RANGE = "must be from 0 to 4294967294"


def without_namespace(kind: str) -> Patch:
    def patch(doc: Doc) -> None:
        doc["linux"]["namespaces"] = [entry for entry in doc["linux"]["namespaces"] if entry["type"] != kind]

    return patch


def with_namespace(kind: str, **extra: str) -> Patch:
    def patch(doc: Doc) -> None:
        without_namespace(kind)(doc)
        doc["linux"]["namespaces"].append({"type": kind, **extra})

    return patch


def twice(kind: str) -> Patch:
    return put("/linux/namespaces", [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount", kind)])


def mapping(*runs: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in runs]


def mapped(uids: list[dict[str, int]], gids: list[dict[str, int]] | None = None) -> Patch:
    """A user namespace with these mappings."""
    return both(
        with_namespace("user"),
        put("/linux/uidMappings", uids),
        put("/linux/gidMappings", mapping((0, 1000, 10)) if gids is None else gids),
    )


def mount(**members: object) -> Patch:
    return put("/mounts", [members])


def seccomp(**members: object) -> Patch:
    return put("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", **members})


def rule(**members: object) -> Patch:
    return seccomp(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ERRNO", **members}])


def device(**members: object) -> Patch:
    return put("/linux/devices", [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, **members}])


def sysctl(key: str) -> Patch:
    return put("/linux/sysctl", {key: "1"})


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
    ("a text for readonly", put("/root/readonly", "true"), "/root/readonly", 'found the string "true", must be true or'),
    ("a root that is a text", put("/root", "rootfs"), "/root", "must be an object"),
    (
        "a read-only root without a mount namespace",
        both(without_namespace("mount"), drop("/mounts"), put("/root/readonly", True)),
        "/root/readonly",
        "needs a mount namespace",
    ),
]

PROCESS: list[Case] = [
    ("no args", drop("/process/args"), "/process/args", "required, but missing"),
    ("empty args", put("/process/args", []), "/process/args", "is empty"),
    ("an empty program", put("/process/args", ["", "x"]), "/process/args/0", "is empty"),
    ("args in one text", put("/process/args", "sh"), "/process/args", 'found the string "sh", must be an array'),
    ("a number among args", put("/process/args", ["sleep", 5]), "/process/args/1", "found 5, must be a string"),
    ("no cwd", drop("/process/cwd"), "/process/cwd", "required, but missing"),
    ("a misspelt cwd", both(drop("/process/cwd"), put("/process/cdw", "/")), "/process/cwd", 'is "cdw" meant to be it?'),
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
    (
        "mounts without a mount namespace",
        both(without_namespace("mount"), drop("/linux/maskedPaths"), drop("/linux/readonlyPaths"), drop("/root/readonly"),
             mount(destination="/tmp", type="tmpfs")),
        "/mounts",
        "needs a mount namespace",
    ),
    ("options in one text", mount(destination="/a", options="ro"), "/mounts/0/options", "must be an array"),
]  # fmt: skip

NAMES_AND_HOOKS: list[Case] = [
    ("a hostname for the host", both(without_namespace("uts"), put("/hostname", "a")), "/hostname", "needs a uts namespace"),
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

NAMESPACES: list[Case] = [
    (
        "a misspelt namespace",
        put("/linux/namespaces/0/type", "nework"),
        "/linux/namespaces/0/type",
        'did you mean "network"?',
    ),
    ("a namespace listed twice", twice("ipc"), "/linux/namespaces/5/type", '"ipc" is listed by /linux/namespaces/2 already'),
    (
        "a relative path of a namespace",
        put("/linux/namespaces/0/path", "ns"),
        "/linux/namespaces/0/path",
        "must be an absolute path",
    ),
    (
        "mappings without a user namespace",
        both(without_namespace("user"), drop("/linux/gidMappings"), put("/linux/uidMappings", mapping((0, 1000, 1)))),
        "/linux/uidMappings",
        "needs a user namespace",
    ),
    (
        "a user namespace without group mappings",
        mapped(mapping((0, 1000, 1)), []),
        "/linux/gidMappings",
        "a new user namespace needs it",
    ),
    ("an empty mapping", mapped(mapping((0, 1000, 0))), "/linux/uidMappings/0/size", "must be at least 1"),
    (
        "mappings that overlap inside",
        mapped(mapping((0, 1000, 10), (9, 2000, 10))),
        "/linux/uidMappings/1/containerID",
        "overlaps with /linux/uidMappings/0",
    ),
    (
        "mappings that overlap outside",
        mapped(mapping((20, 1005, 10), (0, 1000, 10))),
        "/linux/uidMappings/1/hostID",
        "overlaps with /linux/uidMappings/0",
    ),
    (
        "a mapping of the ID that is none",
        mapped(mapping((0, 4294967295, 1))),
        "/linux/uidMappings/0/hostID",
        "the last ID is 4294967294",
    ),
    (
        "more mappings than the kernel takes",
        mapped(mapping(*((n, n, 1) for n in range(341)))),
        "/linux/uidMappings",
        "has 341 entries, the kernel takes 340",
    ),
    (
        "a mapping without size",
        mapped([{"containerID": 0, "hostID": 1}]),
        "/linux/uidMappings/0/size",
        "required, but missing",
    ),
    (
        "time offsets for the host",
        both(without_namespace("time"), put("/linux/timeOffsets", {"monotonic": {"secs": 1}})),
        "/linux/timeOffsets/monotonic",
        "needs a time namespace",
    ),
    (
        "time offsets for a joined namespace",
        both(with_namespace("time", path="/run/time"), put("/linux/timeOffsets", {"boottime": {"secs": 1}})),
        "/linux/timeOffsets/boottime",
        "its offsets are fixed",
    ),
    (
        "a second of nanoseconds",
        both(with_namespace("time"), put("/linux/timeOffsets", {"boottime": {"nanosecs": 1000000000}})),
        "/linux/timeOffsets/boottime/nanosecs",
        "must be from 0 to 999999999",
    ),
    (
        "an unknown clock",
        both(with_namespace("time"), put("/linux/timeOffsets", {"bootime": {}})),
        "/linux/timeOffsets/bootime",
        'did you mean "boottime"?',
    ),
]

SYSCTL: list[Case] = [
    ("a sysctl of the host", sysctl("kernel.core_pattern"), "/linux/sysctl/kernel.core_pattern", "would change the host"),
    (
        "a sysctl of the host with slashes",
        sysctl("kernel/core_pattern"),
        "/linux/sysctl/kernel~1core_pattern",
        "would change the host",
    ),
    (
        "a sysctl that climbs",
        sysctl("net/../kernel/core_pattern"),
        "/linux/sysctl/net~1..~1kernel~1core_pattern",
        "is not the name of a kernel parameter",
    ),
    (
        "a sysctl that climbs by dots",
        sysctl("net.//.kernel.core_pattern"),
        "/linux/sysctl/net.~1~1.kernel.core_pattern",
        "is not the name of a kernel parameter",
    ),
    ("an absolute sysctl", sysctl("/net/a"), "/linux/sysctl/~1net~1a", "is not the name of a kernel parameter"),
    ("a sysctl without name", sysctl(""), "/linux/sysctl/", "is not the name of a kernel parameter"),
    ("a sysctl that is a slash", sysctl("/"), "/linux/sysctl/~1", "is not the name of a kernel parameter"),
    (
        "a network sysctl of the host",
        both(without_namespace("network"), sysctl("net.ipv4.ip_forward")),
        "/linux/sysctl/net.ipv4.ip_forward",
        "needs a network namespace",
    ),
    (
        "an IPC sysctl of the host",
        both(without_namespace("ipc"), sysctl("fs.mqueue.msg_max")),
        "/linux/sysctl/fs.mqueue.msg_max",
        "needs a ipc namespace",
    ),
    ("the hostname by sysctl", sysctl("kernel.hostname"), "/linux/sysctl/kernel.hostname", "set the hostname by /hostname"),
    (
        "a sysctl that is a number",
        put("/linux/sysctl", {"kernel.sem": 1}),
        "/linux/sysctl/kernel.sem",
        "found 1, must be a string",
    ),
]

DEVICES: list[Case] = [
    ("a misspelt type of device", device(type="char"), "/linux/devices/0/type", 'must be one of "b", "c", "p", "u"'),
    ("a relative device", device(path="x"), "/linux/devices/0/path", "must be an absolute path"),
    (
        "a device without major",
        put("/linux/devices", [{"path": "/dev/x", "type": "c", "minor": 3}]),
        "/linux/devices/0/major",
        "required, but missing: only type p has none",
    ),
    ("a minor of 21 bits", device(minor=1048576), "/linux/devices/0/minor", "must be from 0 to 1048575"),
    ("a major below 0", device(major=-1), "/linux/devices/0/major", "must be from 0 to 4095"),
    ("a device of nobody", device(uid=4294967295), "/linux/devices/0/uid", ID_RANGE),
    ("a file mode of 17 bits", device(fileMode=65536), "/linux/devices/0/fileMode", "must be a file mode (in decimal)"),
    (
        "a network device with a path for a name",
        put("/linux/netDevices", {"eth0": {"name": "a/b"}}),
        "/linux/netDevices/eth0/name",
        '"a/b" is not the name of a network device',
    ),
    (
        "two network devices of one name",
        put("/linux/netDevices", {"eth0": {"name": "a"}, "eth1": {"name": "a"}}),
        "/linux/netDevices/eth1",
        'takes the name "a" as /linux/netDevices/eth0 does',
    ),
    (
        "a rule for an unknown kind of device",
        put("/linux/resources/devices", [{"allow": False, "type": "x"}]),
        "/linux/resources/devices/0/type",
        'must be one of "a", "b", "c"',
    ),
    (
        "a size of huge pages in lower case",
        put("/linux/resources/hugepageLimits", [{"pageSize": "2mb", "limit": 1}]),
        "/linux/resources/hugepageLimits/0/pageSize",
        'must be a string such as "2MB"',
    ),
    (
        "a limit for nothing of RDMA",
        put("/linux/resources/rdma", {"mlx": {}}),
        "/linux/resources/rdma/mlx",
        'must have "hcaHandles" or "hcaObjects"',
    ),
]

SECURITY: list[Case] = [
    ("a profile without default", put("/linux/seccomp", {}), "/linux/seccomp/defaultAction", "required, but missing"),
    ("a misspelt action", rule(action="SCMP_ACT_ERNO"), "/linux/seccomp/syscalls/0/action", '"SCMP_ACT_ERRNO"?'),
    ("an action without its prefix", rule(action="KILL"), "/linux/seccomp/syscalls/0/action", '"SCMP_ACT_KILL"?'),
    ("a rule for no call", rule(names=[]), "/linux/seccomp/syscalls/0/names", "has no entries, must have at least 1"),
    (
        "a seventh argument",
        rule(args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]),
        "/linux/seccomp/syscalls/0/args/0/index",
        "found 6, must be from 0 to 5",
    ),
    (
        "an unknown operator",
        rule(args=[{"index": 0, "value": 1, "op": "SCMP_CMP_EQUAL"}]),
        "/linux/seccomp/syscalls/0/args/0/op",
        'did you mean "SCMP_CMP_EQ"?',
    ),
    (
        "an error number for an action that has none",
        seccomp(defaultErrnoRet=1),
        "/linux/seccomp/defaultErrnoRet",
        "SCMP_ACT_ALLOW has no error number",
    ),
    ("an error number too large", rule(errnoRet=4096), "/linux/seccomp/syscalls/0/errnoRet", "must be from 0 to 4095"),
    (
        "a notification for nobody",
        rule(action="SCMP_ACT_NOTIFY"),
        "/linux/seccomp/listenerPath",
        "SCMP_ACT_NOTIFY needs someone to notify",
    ),
    (
        "metadata for nobody",
        seccomp(listenerMetadata="x"),
        "/linux/seccomp/listenerPath",
        "required, but missing: listenerMetadata needs it",
    ),
    (
        "an unknown architecture",
        seccomp(architectures=["SCMP_ARCH_X8664"]),
        "/linux/seccomp/architectures/0",
        'did you mean "SCMP_ARCH_X86_64"?',
    ),
    (
        "an unknown propagation",
        put("/linux/rootfsPropagation", "privat"),
        "/linux/rootfsPropagation",
        'did you mean "private"?',
    ),
    ("a relative masked path", put("/linux/maskedPaths", ["proc"]), "/linux/maskedPaths/0", "must be an absolute path"),
    ("a relative read-only path", put("/linux/readonlyPaths", [""]), "/linux/readonlyPaths/0", "must be an absolute path"),
    (
        "masked paths without a mount namespace",
        both(without_namespace("mount"), drop("/mounts"), drop("/linux/readonlyPaths"), drop("/root/readonly"),
             put("/linux/maskedPaths", ["/a"])),
        "/linux/maskedPaths",
        "needs a mount namespace",
    ),
    (
        "a flag of personality",
        put("/linux/personality", {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
        "/linux/personality/flags",
        "none is defined yet",
    ),
    (
        "a memory policy without nodes",
        put("/linux/memoryPolicy", {"mode": "MPOL_BIND"}),
        "/linux/memoryPolicy/nodes",
        "required, but missing: MPOL_BIND needs nodes",
    ),
    (
        "nodes that the default policy has not",
        put("/linux/memoryPolicy", {"mode": "MPOL_DEFAULT", "nodes": "0"}),
        "/linux/memoryPolicy/nodes",
        "but MPOL_DEFAULT has no nodes",
    ),
    (
        "a class of service that climbs",
        put("/linux/intelRdt", {"closID": "../x"}),
        "/linux/intelRdt/closID",
        "must be the name of one directory",
    ),
    (
        "a memory bandwidth without its prefix",
        put("/linux/intelRdt", {"memBwSchema": "L3:0=f"}),
        "/linux/intelRdt/memBwSchema",
        'must be a string such as "MB:0=20;1=70"',
    ),
    ("a linux section that is a list", put("/linux", []), "/linux", "found an empty array, must be an object"),
    ("a machine without kernel", put("/vm", {}), "/vm/kernel", "required, but missing"),
    ("a kernel on a relative path", put("/vm", {"kernel": {"path": "k"}}), "/vm/kernel/path", "must be an absolute path"),
]  # fmt: skip

INVALID: list[Case] = [
    *VERSION,
    *ROOT,
    *PROCESS,
    *MOUNTS,
    *NAMES_AND_HOOKS,
    *NAMESPACES,
    *SYSCTL,
    *DEVICES,
    *SECURITY,
]
