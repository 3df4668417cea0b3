"""What events takes from elsewhere than cgroups, and the durations of its command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocirt.cli.events import seconds
from ocirt.container import resctrl_stats
from ocirt.errors import UsageError

TREE = {
    "info/L3/cbm_mask": "7ff\n",
    "info/L3/min_cbm_bits": "1\n",
    "info/L3/num_closids": "16\n",
    "info/MB/bandwidth_gran": "10\n",
    "info/MB/delay_linear": "1\n",
    "info/MB/min_bandwidth": "10\n",
    "info/MB/num_closids": "8\n",
    "schemata": "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n",
    "box/schemata": "    L3:0=f;1=f0\n    MB:0=20;1=70\n",
    "box/mon_data/mon_L3_00/mbm_total_bytes": "100\n",
    "box/mon_data/mon_L3_00/mbm_local_bytes": "90\n",
    "box/mon_data/mon_L3_00/llc_occupancy": "4096\n",
    "box/mon_data/mon_L3_01/mbm_total_bytes": "Unavailable\n",
    "box/mon_data/mon_L3_01/mbm_local_bytes": "0\n",
    "box/mon_data/mon_L3_01/llc_occupancy": "8192\n",
    "bare/schemata": "L3:0=1\n",
}


@pytest.fixture
def resctrl(tmp_path: Path) -> str:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return str(tmp_path)


def test_a_group_of_resctrl_has_its_schemata_beside_the_roots_and_what_is_monitored(resctrl: str) -> None:
    assert resctrl_stats.stats("box", resctrl) == {
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": "L3:0=f;1=f0",
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=20;1=70",
        "schemata": ["L3:0=f;1=f0", "MB:0=20;1=70"],
        "mbm_stats": [
            {"mbm_total_bytes": 100, "mbm_local_bytes": 90},
            {"mbm_total_bytes": 0, "mbm_local_bytes": 0},
        ],
        "cmt_stats": [{"llc_occupancy": 4096}, {"llc_occupancy": 8192}],
    }


def test_what_is_not_there_is_left_out(resctrl: str) -> None:
    assert set(resctrl_stats.stats("bare", resctrl)) & {"mbm_stats", "cmt_stats", "mem_bw_schema"} == set()
    assert resctrl_stats.stats("no-such", resctrl) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [("5s", 5), ("5", 5), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("0.25", 0.25), (".5s", 0.5), ("10us", 1e-5)],
)
def test_durations_are_gos_or_seconds(text: str, found: float) -> None:
    assert seconds(text) == pytest.approx(found)


def test_a_duration_longer_than_any_clock_is_a_long_one() -> None:
    assert seconds("9" * 400) == seconds("9" * 400 + "h") == pytest.approx(1e9)


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "s", "5x", "1m30", "5 s", "1e3s", ".", "nan", "٣s"])
def test_what_is_no_duration_above_zero_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="flag --interval"):
        seconds(text)
