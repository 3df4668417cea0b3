"""A Swarm of one node: a service is scaled and updated, and a task that dies is replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.docker import Docker
from tests.engines.engine import IMAGE
from tests.integration.support import wait_for


@pytest.fixture
def swarm(docker: Docker) -> Iterator[Docker]:
    """The daemon as the manager of a swarm, which it leaves at the end."""
    begun = docker("swarm", "init", "--advertise-addr=127.0.0.1", "--listen-addr=127.0.0.1:2377")
    if begun.code != 0 and "not supported" in begun.stderr:
        pytest.skip(begun.stderr.strip())
    assert begun.code == 0, begun.stderr
    yield docker
    docker("service", "rm", "asleep")
    wait_for(lambda: not docker("ps", "--all", "--quiet", "--filter=name=asleep").stdout, "the tasks are gone", 30)
    docker("swarm", "leave", "--force", check=True)


def tasks(docker: Docker) -> list[str]:
    """The ids of the containers that run for the service."""
    return docker("ps", "--quiet", "--no-trunc", "--filter=name=asleep", "--filter=status=running").stdout.split()


def running(docker: Docker, without: set[str]) -> list[str]:
    """All three tasks, once none of them is one of `without`."""
    found = tasks(docker)
    return found if len(found) == 3 and not without & set(found) else []


def test_a_service_is_scaled_updated_and_its_tasks_replaced(swarm: Docker) -> None:
    words = ("--detach", "--name=asleep", "--replicas=2", "--network=host", "--stop-grace-period=0s")
    swarm("service", "create", *words, "--restart-delay=0s", IMAGE, "sleep", "600", check=True)
    wait_for(lambda: len(tasks(swarm)) == 2, "two tasks", 30)
    swarm("service", "scale", "--detach", "asleep=3", check=True)
    wait_for(lambda: len(tasks(swarm)) == 3, "three tasks", 30)

    killed = tasks(swarm)[0]
    swarm("kill", "--signal=KILL", killed, check=True)
    wait_for(lambda: running(swarm, without={killed}), "the killed one is replaced", 30)

    before = set(tasks(swarm))
    change = ("--detach", "--env-add=A=b", "--update-delay=0s", "--update-parallelism=0")
    swarm("service", "update", *change, "asleep", check=True)
    for task in wait_for(lambda: running(swarm, without=before), "all three are new", 60):
        assert swarm("exec", task, "sh", "-c", "echo $A", check=True).stdout == "b\n"
        assert swarm.inspect(task, ".HostConfig.Runtime") == swarm.name
