"""Peculiarities of the configs that engines write; each container must run, and show what was meant."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import BASE, Runtime
from tests.integration.views import MakeBundle, wrapper

Inside = Callable[..., str]


def mount(**entry: object) -> dict[str, Any]:
    """A delta: the base's mounts, and one on /mnt."""
    return {"mounts": [*BASE["mounts"], {"destination": "/mnt", **entry}]}


TMPFS = {"type": "tmpfs", "source": "tmpfs"}

ACCEPTED: dict[str, dict[str, Any]] = {
    "docker 20.10's version": {"ociVersion": "1.0.2-dev"},
    "containerd 1.7's version": {"ociVersion": "1.1.0"},
    "a version to come": {"ociVersion": "1.99.0-rc.1+build"},
    "an unknown member": {"io.example": {"x": [1]}, "process": {"unheardOf": True}},
    "podman: an empty mount option": mount(**TMPFS, options=["rw", "tmpcopyup", ""]),
    "propagation ahead of other options": mount(**TMPFS, options=["rprivate", "nosuid", "size=64k"]),
    "two propagations": mount(**TMPFS, options=["private", "rslave"]),
    "a bind by its option alone": mount(source="/etc", options=["rbind", "ro"]),
    "a bind by its type alone": mount(type="bind", source="/etc"),
    "a bind of type none": mount(type="none", source="/etc", options=["bind"]),
    "docker: no device, of no type": {"linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}},
    "a relative cgroup": {"linux": {"cgroupsPath": "ocirt/relative"}},
    "an empty cgroup": {"linux": {"cgroupsPath": ""}},
    "a systemd property on cgroupfs": {"annotations": {"org.systemd.property.TimeoutStopUSec": "uint64 10000000"}},
    "labels that are empty": {"process": {"apparmorProfile": "", "selinuxLabel": ""}, "linux": {"mountLabel": ""}},
    "a sysctl with slashes": {"linux": {"sysctl": {"net/ipv4/ip_forward": "1"}}},
    "a rootfs that gets the host's mounts": {"linux": {"rootfsPropagation": "rslave"}},
    "no capabilities": {"process": {"capabilities": None}},
    "no rlimits, hooks, masks": {"process": {"rlimits": []}, "hooks": {}, "linux": {"maskedPaths": []}},
    "another platform's section": {"windows": {"layerFolders": ["x"]}, "solaris": {"milestone": "x"}},
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_engines_write_is_accepted(case: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    result = runtime.run_container(make_bundle(args=["echo", "ran"], **ACCEPTED[case]))
    assert (result.code, result.stdout, result.stderr) == (0, "ran\n", "")


def test_a_hook_has_the_name_that_its_args_begin_with_and_the_callers_environment(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    """Docker's hook is /proc/PID/exe under the name libnetwork-setkey, and has no env."""
    hook = {
        "path": "/bin/sh",
        "args": ["the-name", "-c", f'echo "$0 $1 $OF_CALLER" >{scratch}/said', "the-name", "arg"],
    }
    bundle = make_bundle(hooks={"prestart": [hook | {"path": f"/proc/{os.getpid()}/root/bin/sh"}]})
    runtime.run_container(bundle, check=True, env={"OF_CALLER": "yes", "XDG_RUNTIME_DIR": ""})
    assert (scratch / "said").read_text() == "the-name arg yes\n"


def test_a_prestart_hook_finds_the_network_namespace_of_the_pid_that_it_is_given(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    script = f"""
        pid=$(sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p'); readlink /proc/$pid/ns/net /proc/self/ns/net >{scratch}/said
    """
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    inside = runtime.run_container(make_bundle(args=["readlink", "/proc/self/ns/net"], hooks={"prestart": [hook]}))
    container, hooks = (scratch / "said").read_text().splitlines()
    assert container == inside.stdout.strip()
    assert hooks == os.readlink("/proc/self/ns/net")


@pytest.mark.parametrize("way", ["delete", "force a created one", "force a running one", "run", "create fails"])
def test_poststop_hooks_run_exactly_once_on_every_way_out(
    way: str, runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    """A lost poststop hook leaks a network address with nerdctl, a second one may take another's."""
    poststop = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >>{scratch}/said; echo >>{scratch}/said"]}
    hooks = {"createRuntime": [{"path": "/bin/true"}], "poststop": [poststop]}
    args = {"create fails": ["gone"], "force a running one": ["sleep", "600"]}.get(way, ["true"])
    bundle = make_bundle(args=args, hooks=hooks, annotations={"nerdctl/state-dir": "/x"})
    if way == "run":
        runtime.run_container(bundle, check=True)
    elif way == "create fails":
        runtime.run("create", "--bundle", str(bundle.path), runtime.new_id(), check=False)
    else:
        container = runtime.create(bundle)
        if way != "force a created one":
            container.start()
        if way == "delete":
            container.wait_stopped()
        container.delete(*(["--force"] if "force" in way else []))
        container.delete("--force")
    said = (scratch / "said").read_text()
    assert said.count('"status": "stopped"') == 1
    assert '"nerdctl/state-dir": "/x"' in said
    assert f'"bundle": "{bundle.path}"' in said


def test_listen_fds_count_only_when_they_are_ours(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Podman leaves its own LISTEN_FDS in the environment and tells of them by --preserve-fds."""
    script = "ls /proc/$$/fd | tr '\\n' ' '; echo ${LISTEN_FDS-none}"
    with Path("/dev/null").open() as file:
        result = runtime.run_container(
            make_bundle(args=["sh", "-c", script]),
            "--preserve-fds=1",
            pass_fds=[3],
            preexec_fn=lambda: os.dup2(file.fileno(), 3),
            env={"LISTEN_FDS": "1", "LISTEN_PID": "1", "XDG_RUNTIME_DIR": ""},
        )
    assert result.stdout.split()[-1] == "none"
    assert "3" in result.stdout.split()


def test_listen_fds_that_are_ours_are_handed_on_and_are_the_first_processs(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """As a service manager starts a runtime: sd_listen_fds(3)."""
    bundle = make_bundle(args=["sh", "-c", "cat <&3; echo $LISTEN_FDS $LISTEN_PID; ls /proc/$$/fd | cat"])
    word = runtime.scratch / "word"
    word.write_text("heard ")
    manager = f'exec 3<{word} 4<{word}; export LISTEN_FDS=1; LISTEN_PID=$$ exec {runtime.program} "$@"'
    runtime.program = wrapper(runtime.scratch / "manager", ["sh", "-c", manager, "manager"])
    told = runtime.run_container(bundle, check=True).stdout.split()
    assert told[:3] == ["heard", "1", "1"]
    assert "4" not in told[3:]
