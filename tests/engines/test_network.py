"""Networks of Podman and Docker: addresses, published ports, names, and namespaces that containers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.conftest import need
from tests.engines.engine import SERVER, SLEEP, Engine
from tests.integration.support import wait_for

BRIDGE = {"podman": "podman", "docker": "bridge"}


@pytest.fixture(autouse=True)
def programs() -> None:
    """What bridges need, and what asks."""
    need("iptables", "wget")


@pytest.fixture
def names(engine: Engine) -> Iterator[tuple[str, str]]:
    """Two names; containers with them are removed at the end."""
    yield "first", "second"
    engine.remove("first", "second")


@pytest.fixture
def network(engine: Engine) -> Iterator[str]:
    """A network with names."""
    engine("network", "create", "named", check=True)
    yield "named"
    engine("network", "rm", "named", check=True)


def test_a_container_has_its_own_address_and_a_published_port(engine: Engine, names: tuple[str, str]) -> None:
    engine.start(names[0], "--publish=127.0.0.1:8077:80", "--hostname=web", *SERVER, network=BRIDGE[engine.kind])
    wait_for(lambda: engine.fetched("http://127.0.0.1:8077/page") == "page-of-web\n", "the page")
    address = engine.inspect(names[0], ".NetworkSettings.IPAddress")
    assert engine.fetched(f"http://{address}/page") == "page-of-web\n"


def test_two_containers_have_different_addresses_and_reach_each_other(engine: Engine, names: tuple[str, str]) -> None:
    for name in names:
        engine.start(name, f"--hostname={name}", *SERVER, network=BRIDGE[engine.kind])
    addresses = [engine.inspect(name, ".NetworkSettings.IPAddress") for name in names]
    assert len(set(addresses)) == 2
    asked = engine.run("--", "wget", "-qO-", f"http://{addresses[1]}/page", network=BRIDGE[engine.kind], check=True)
    assert asked.stdout == "page-of-second\n"


def test_a_name_is_resolved_between_containers_of_a_network(
    engine: Engine, names: tuple[str, str], network: str
) -> None:
    engine.start(names[0], "--hostname=web", *SERVER, network=network)
    asked = engine.run("--", "sh", "-c", "sleep 0.5; wget -qO- http://first/page", network=network, check=True)
    assert asked.stdout == "page-of-web\n"
    engine("rm", "--force", names[0], check=True)


def test_a_container_joins_the_namespaces_of_another(engine: Engine, names: tuple[str, str]) -> None:
    engine.start(names[0], "--ipc=shareable", *SLEEP)
    joined = [f"--{kind}=container:{names[0]}" for kind in ("pid", "ipc")]
    done = engine.run(*joined, "--", "ps", "-o", "args", network=f"container:{names[0]}", check=True)
    assert "sleep 600" in done.stdout
