"""Names of kernel parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocirt.linux.sysctl import namespace, path


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("kernel.sem", "kernel/sem"),
        ("", ""),
        ("/", ""),
        (".", ""),
        ("kernel", ""),
        ("/net/a", ""),
        ("net/", ""),
        ("net..a", ""),
        ("net/../kernel/core_pattern", ""),
        ("net./.kernel", ""),
        ("net.//.kernel.core_pattern", ""),
        ("net/./a", ""),
    ],
)
def test_both_spellings_name_one_file_and_nothing_else_names_any(key: str, file: str) -> None:
    assert path(key) == file


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("net/core/somaxconn", "network"),
        ("kernel/shm_rmid_forced", "ipc"),
        ("fs/mqueue/msg_max", "ipc"),
        ("kernel/domainname", "uts"),
        ("kernel/core_pattern", ""),
        ("kernel/shmmax_not", ""),
        ("network/x", ""),
        ("vm/swappiness", ""),
        ("", ""),
    ],
)
def test_a_parameter_belongs_to_the_namespace_that_it_changes(file: str, kind: str) -> None:
    assert namespace(file) == kind


@given(st.text("net./ak.", max_size=12))
def test_a_path_stays_below_where_it_begins(key: str) -> None:
    parts = path(key).split("/")
    assert parts == [""] or not {"", ".", ".."} & set(parts)
