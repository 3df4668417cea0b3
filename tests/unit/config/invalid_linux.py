"""As invalid.py: the mistakes of the linux and the vm section."""

from __future__ import annotations

from tests.unit.config.changes import (
    Patch,
    both,
    drop,
    mapped,
    mapping,
    put,
    twice,
    with_namespace,
    without_namespace,
)

Case = tuple[str, Patch, str, str]

ID_RANGE = "must be from 0 to 4294967294"


def seccomp(**members: object) -> Patch:
    return put("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", **members})


def rule(**members: object) -> Patch:
    return seccomp(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ERRNO", **members}])


def device(**members: object) -> Patch:
    return put("/linux/devices", [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, **members}])


def sysctl(key: str) -> Patch:
    return put("/linux/sysctl", {key: "1"})


NAMESPACES: list[Case] = [
    (
        "a misspelt namespace",
        put("/linux/namespaces/0/type", "nework"),
        "/linux/namespaces/0/type",
        'did you mean "network"?',
    ),
    (
        "a namespace listed twice",
        twice("ipc"),
        "/linux/namespaces/5/type",
        '"ipc" is listed by /linux/namespaces/2 already',
    ),
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
        "needs a namespace of type user",
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
        "needs a namespace of type time",
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
    (
        "a sysctl of the host",
        sysctl("kernel.core_pattern"),
        "/linux/sysctl/kernel.core_pattern",
        "would change the host",
    ),
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
        "needs a namespace of type network",
    ),
    (
        "an IPC sysctl of the host",
        both(without_namespace("ipc"), sysctl("fs.mqueue.msg_max")),
        "/linux/sysctl/fs.mqueue.msg_max",
        "needs a namespace of type ipc",
    ),
    (
        "the hostname by sysctl",
        sysctl("kernel.hostname"),
        "/linux/sysctl/kernel.hostname",
        "set the hostname by /hostname",
    ),
    (
        "two domain names",
        both(put("/domainname", "a"), put("/linux/sysctl", {"kernel/domainname": "b"})),
        "/linux/sysctl/kernel~1domainname",
        'found "b", but /domainname is "a"',
    ),
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
    (
        "a relative read-only path",
        put("/linux/readonlyPaths", [""]),
        "/linux/readonlyPaths/0",
        "must be an absolute path",
    ),
    (
        "masked paths without a mount namespace",
        both(
            without_namespace("mount"),
            drop("/mounts"),
            drop("/linux/readonlyPaths"),
            drop("/root/readonly"),
            put("/linux/maskedPaths", ["/a"]),
        ),
        "/linux/maskedPaths",
        "needs a namespace of type mount",
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
    (
        "a kernel on a relative path",
        put("/vm", {"kernel": {"path": "k"}}),
        "/vm/kernel/path",
        "must be an absolute path",
    ),
]

LINUX: list[Case] = [*NAMESPACES, *SYSCTL, *DEVICES, *SECURITY]
