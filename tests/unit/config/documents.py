"""Configs for tests: one that asks for little, and ones that have every member."""

from __future__ import annotations

import copy

from tests.unit.config.changes import Doc


def base() -> Doc:
    """A small valid config with every namespace but user."""
    kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup", "time")
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": kind} for kind in kinds]},
    }


def full() -> Doc:
    """A valid config with every member of the common, the linux and the vm part."""
    hook = {"path": "/bin/true", "args": ["true", "x"], "env": ["A=b"], "timeout": 5}
    doc = base()
    doc.update(
        hostname="host",
        domainname="example.org",
        annotations={"org.example.a": "1", "b": ""},
        hooks={
            name: [copy.deepcopy(hook), {"path": "/bin/false"}]
            for name in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
        },
        vm={
            "hypervisor": {"path": "/usr/bin/vmm", "parameters": ["a=b"]},
            "kernel": {"path": "/boot/vmlinuz", "parameters": ["quiet"], "initrd": "/boot/initrd"},
            "image": {"path": "/image", "format": "raw"},
            "hwConfig": {
                "deviceTree": "/tree",
                "vcpus": 2,
                "memory": 4194304,
                "dtdevs": ["dev"],
                "iomems": [{"firstGFN": 1, "firstMFN": 2, "nrMFNs": 3}, {"firstMFN": 2, "nrMFNs": 3}],
                "irqs": [11, 22],
            },
        },
    )
    doc["root"]["readonly"] = True
    doc["process"].update(process())
    doc["mounts"] = mounts()
    doc["linux"].update(linux())
    doc["linux"]["namespaces"].append({"type": "user"})
    doc["linux"]["namespaces"][1]["path"] = "/run/netns/a"
    return doc


def process() -> Doc:
    """Every member of process but those of base()."""
    return {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "env": ["PATH=/bin", "EMPTY="],
        "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4]},
        "rlimits": [
            {"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615},
        ],
        "apparmorProfile": "profile",
        "selinuxLabel": "a:b:c",
        "capabilities": {
            name: ["CAP_CHOWN", "CAP_KILL"] for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
        },
        "noNewPrivileges": True,
        "oomScoreAdj": -10,
        "scheduler": {
            "policy": "SCHED_DEADLINE",
            "nice": 1,
            "priority": 0,
            "flags": ["SCHED_FLAG_RECLAIM"],
            "runtime": 1,
            "deadline": 2,
            "period": 3,
        },
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0", "final": "0-3,7"},
    }


def mounts() -> list[Doc]:
    """A mount of proc, a bind mount with mappings of its own, a relative destination."""
    mapping = {"containerID": 0, "hostID": 1000, "size": 10}
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
        {
            "destination": "/data",
            "type": "none",
            "source": "/srv",
            "options": ["rbind", "ridmap"],
            "uidMappings": [dict(mapping)],
            "gidMappings": [dict(mapping)],
        },
        {"destination": "relative"},
    ]


def linux() -> Doc:
    """Every member of the linux section but namespaces."""
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}, {"containerID": 10, "hostID": 2000, "size": 10}]
    throttle = [{"major": 8, "minor": 0, "rate": 600}]
    return {
        "uidMappings": copy.deepcopy(mapping),
        "gidMappings": copy.deepcopy(mapping),
        "timeOffsets": {"monotonic": {"secs": 10, "nanosecs": 5}, "boottime": {"secs": -1}},
        "devices": [
            {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0},
            {"type": "p", "path": "/dev/fifo"},
        ],
        "netDevices": {"eth0": {"name": "eth1"}, "eth2": {}},
        "cgroupsPath": "/a/b",
        "resources": {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
            ],
            "memory": {
                "limit": 1,
                "reservation": 1,
                "swap": -1,
                "kernel": -1,
                "kernelTCP": -1,
                "swappiness": 0,
                "disableOOMKiller": False,
                "useHierarchy": True,
                "checkBeforeUpdate": True,
            },
            "cpu": {
                "shares": 1,
                "quota": -1,
                "burst": 1,
                "period": 1,
                "realtimeRuntime": 1,
                "realtimePeriod": 1,
                "cpus": "0-3",
                "mems": "0",
                "idle": 1,
            },
            "pids": {"limit": 10},
            "blockIO": {
                "weight": 10,
                "leafWeight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 1, "leafWeight": 1}],
                "throttleReadBpsDevice": copy.deepcopy(throttle),
                "throttleWriteBpsDevice": copy.deepcopy(throttle),
                "throttleReadIOPSDevice": copy.deepcopy(throttle),
                "throttleWriteIOPSDevice": copy.deepcopy(throttle),
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]},
            "rdma": {"mlx5_1": {"hcaHandles": 1, "hcaObjects": 1}},
            "unified": {"memory.high": "1"},
        },
        "intelRdt": {
            "closID": "group",
            "schemata": ["L3:0=f"],
            "l3CacheSchema": "L3:0=f",
            "memBwSchema": "MB:0=20",
            "enableMonitoring": True,
        },
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]},
        "sysctl": {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1", "kernel.msgmax": "1"},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/listener",
            "listenerMetadata": "x",
            "syscalls": [
                {
                    "names": ["read", "write"],
                    "action": "SCMP_ACT_TRACE",
                    "errnoRet": 1,
                    "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
                },
                {"names": ["open"], "action": "SCMP_ACT_NOTIFY"},
            ],
        },
        "rootfsPropagation": "slave",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "a:b:c",
        "personality": {"domain": "LINUX32", "flags": []},
    }


def others() -> Doc:
    """Every member of the sections that this runtime takes no notice of."""
    return {
        "ociVersion": "1.3.0",
        "freebsd": {
            "devices": [{"path": "pf", "mode": 448}],
            "jail": {
                "parent": "p",
                "host": "new",
                "ip4": "disable",
                "ip4Addr": ["1.2.3.4"],
                "vnet": "inherit",
                "enforceStatfs": 1,
                "allow": {"mount": ["tmpfs"], "suser": True},
            },
        },
        "solaris": {"milestone": "m", "cappedCPU": {"ncpus": "1"}, "anet": [{"linkname": "net0"}]},
        "windows": {
            "layerFolders": ["c:\\a"],
            "devices": [{"id": "x", "idType": "class"}],
            "resources": {"cpu": {"count": 1, "affinity": {"mask": 1}}, "storage": {"iops": 1}},
            "network": {"endpointList": ["a"], "DNSSearchList": []},
            "credentialSpec": {"x": 1},
            "hyperv": {"utilityVMPath": "c:\\vm"},
        },
        "zos": {"namespaces": [{"type": "ipc", "path": "/x"}]},
    }
