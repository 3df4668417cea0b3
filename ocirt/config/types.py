"""The shapes of a checked config.json for type checkers. Never imported at run time.

Names and nesting are those of the specification; what each member means is said in spec/. Sections of other platforms
have no shape here, since nothing reads them.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from typing_extensions import NotRequired, Required

NamespaceType = Literal["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]


class Root(TypedDict):
    """config.md, root."""

    path: str
    readonly: NotRequired[bool]


class IDMapping(TypedDict):
    """config-linux.md, user namespace mappings."""

    containerID: int
    hostID: int
    size: int


class Mount(TypedDict):
    """config.md, mounts."""

    destination: str
    source: NotRequired[str]
    type: NotRequired[str]
    options: NotRequired[list[str]]
    uidMappings: NotRequired[list[IDMapping]]
    gidMappings: NotRequired[list[IDMapping]]


class ConsoleSize(TypedDict):
    """config.md, process: characters."""

    height: int
    width: int


class User(TypedDict):
    """config.md, POSIX-platform user."""

    uid: int
    gid: int
    umask: NotRequired[int]
    additionalGids: NotRequired[list[int]]


class Rlimit(TypedDict):
    """config.md, POSIX process."""

    type: str
    soft: int
    hard: int


class Capabilities(TypedDict, total=False):
    """config.md, Linux process: the five sets of capabilities(7)."""

    bounding: list[str]
    effective: list[str]
    permitted: list[str]
    inheritable: list[str]
    ambient: list[str]


class Scheduler(TypedDict):
    """config.md, Linux process: arguments of sched_setattr(2)."""

    policy: str
    nice: NotRequired[int]
    priority: NotRequired[int]
    flags: NotRequired[list[str]]
    runtime: NotRequired[int]
    deadline: NotRequired[int]
    period: NotRequired[int]


IOPriority = TypedDict("IOPriority", {"class": str, "priority": int})


class ExecCPUAffinity(TypedDict, total=False):
    """config.md, Linux process: lists of CPUs."""

    initial: str
    final: str


class Process(TypedDict):
    """config.md, process."""

    cwd: str
    args: list[str]
    terminal: NotRequired[bool]
    consoleSize: NotRequired[ConsoleSize]
    env: NotRequired[list[str]]
    user: NotRequired[User]
    rlimits: NotRequired[list[Rlimit]]
    apparmorProfile: NotRequired[str]
    selinuxLabel: NotRequired[str]
    capabilities: NotRequired[Capabilities]
    noNewPrivileges: NotRequired[bool]
    oomScoreAdj: NotRequired[int]
    scheduler: NotRequired[Scheduler]
    ioPriority: NotRequired[IOPriority]
    execCPUAffinity: NotRequired[ExecCPUAffinity]


class Hook(TypedDict):
    """config.md, hooks; timeout in seconds."""

    path: str
    args: NotRequired[list[str]]
    env: NotRequired[list[str]]
    timeout: NotRequired[int]


class Hooks(TypedDict, total=False):
    """config.md, hooks."""

    prestart: list[Hook]
    createRuntime: list[Hook]
    createContainer: list[Hook]
    startContainer: list[Hook]
    poststart: list[Hook]
    poststop: list[Hook]


class Namespace(TypedDict):
    """config-linux.md, namespaces; without a path, a new one."""

    type: NamespaceType
    path: NotRequired[str]


class TimeOffset(TypedDict, total=False):
    """config-linux.md, offset for time namespace."""

    secs: int
    nanosecs: int


class TimeOffsets(TypedDict, total=False):
    """config-linux.md, offset for time namespace: by clock."""

    boottime: TimeOffset
    monotonic: TimeOffset


class Device(TypedDict):
    """config-linux.md, devices; fileMode may hold the type's bits too."""

    type: Literal["b", "c", "p", "u"]
    path: str
    major: NotRequired[int]
    minor: NotRequired[int]
    fileMode: NotRequired[int]
    uid: NotRequired[int]
    gid: NotRequired[int]


class NetDevice(TypedDict, total=False):
    """config-linux.md, network devices."""

    name: str


class SeccompArg(TypedDict):
    """config-linux.md, seccomp: one comparison."""

    index: int
    value: int
    valueTwo: NotRequired[int]
    op: str


class SeccompSyscall(TypedDict):
    """config-linux.md, seccomp: one rule."""

    names: list[str]
    action: str
    errnoRet: NotRequired[int]
    args: NotRequired[list[SeccompArg]]


class Seccomp(TypedDict):
    """config-linux.md, seccomp."""

    defaultAction: str
    defaultErrnoRet: NotRequired[int]
    architectures: NotRequired[list[str]]
    flags: NotRequired[list[str]]
    listenerPath: NotRequired[str]
    listenerMetadata: NotRequired[str]
    syscalls: NotRequired[list[SeccompSyscall]]


class DeviceRule(TypedDict):
    """config-linux.md, allowed device list."""

    allow: bool
    type: NotRequired[Literal["a", "b", "c"]]
    major: NotRequired[int]
    minor: NotRequired[int]
    access: NotRequired[str]


class Memory(TypedDict, total=False):
    """config-linux.md, memory: bytes, -1 for no limit."""

    limit: int
    reservation: int
    swap: int
    kernel: int
    kernelTCP: int
    swappiness: int
    disableOOMKiller: bool
    useHierarchy: bool
    checkBeforeUpdate: bool


class CPU(TypedDict, total=False):
    """config-linux.md, CPU: microseconds."""

    shares: int
    quota: int
    burst: int
    period: int
    realtimeRuntime: int
    realtimePeriod: int
    cpus: str
    mems: str
    idle: int


class Pids(TypedDict, total=False):
    """config-linux.md, PIDs: -1 for no limit."""

    limit: int


class WeightDevice(TypedDict, total=False):
    """config-linux.md, block IO."""

    major: Required[int]
    minor: Required[int]
    weight: int
    leafWeight: int


class ThrottleDevice(TypedDict):
    """config-linux.md, block IO: bytes or operations a second."""

    major: int
    minor: int
    rate: int


class BlockIO(TypedDict, total=False):
    """config-linux.md, block IO."""

    weight: int
    leafWeight: int
    weightDevice: list[WeightDevice]
    throttleReadBpsDevice: list[ThrottleDevice]
    throttleWriteBpsDevice: list[ThrottleDevice]
    throttleReadIOPSDevice: list[ThrottleDevice]
    throttleWriteIOPSDevice: list[ThrottleDevice]


class HugepageLimit(TypedDict):
    """config-linux.md, huge page limits: bytes."""

    pageSize: str
    limit: int


class NetworkPriority(TypedDict):
    """config-linux.md, network."""

    name: str
    priority: int


class Network(TypedDict, total=False):
    """config-linux.md, network."""

    classID: int
    priorities: list[NetworkPriority]


class Rdma(TypedDict, total=False):
    """config-linux.md, RDMA."""

    hcaHandles: int
    hcaObjects: int


class Resources(TypedDict, total=False):
    """config-linux.md, control groups."""

    devices: list[DeviceRule]
    memory: Memory
    cpu: CPU
    pids: Pids
    blockIO: BlockIO
    hugepageLimits: list[HugepageLimit]
    network: Network
    rdma: dict[str, Rdma]
    unified: dict[str, str]


class IntelRdt(TypedDict, total=False):
    """config-linux.md, IntelRdt."""

    closID: str
    schemata: list[str]
    l3CacheSchema: str
    memBwSchema: str
    enableMonitoring: bool


class MemoryPolicy(TypedDict):
    """config-linux.md, memory policy."""

    mode: str
    nodes: NotRequired[str]
    flags: NotRequired[list[str]]


class Personality(TypedDict):
    """config-linux.md, personality."""

    domain: Literal["LINUX", "LINUX32"]
    flags: NotRequired[list[str]]


class Linux(TypedDict, total=False):
    """config-linux.md."""

    namespaces: list[Namespace]
    uidMappings: list[IDMapping]
    gidMappings: list[IDMapping]
    timeOffsets: TimeOffsets
    devices: list[Device]
    netDevices: dict[str, NetDevice]
    cgroupsPath: str
    resources: Resources
    intelRdt: IntelRdt
    memoryPolicy: MemoryPolicy
    sysctl: dict[str, str]
    seccomp: Seccomp
    rootfsPropagation: str
    maskedPaths: list[str]
    readonlyPaths: list[str]
    mountLabel: str
    personality: Personality


class Config(TypedDict):
    """config.md: a config that check.check has accepted, so root is there."""

    ociVersion: str
    root: Root
    mounts: NotRequired[list[Mount]]
    process: NotRequired[Process]
    hostname: NotRequired[str]
    domainname: NotRequired[str]
    hooks: NotRequired[Hooks]
    annotations: NotRequired[dict[str, str]]
    linux: NotRequired[Linux]
