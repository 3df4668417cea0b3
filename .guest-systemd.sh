set -x
mkdir -p /tmp/b/rootfs/bin; cp /bin/busybox /tmp/b/rootfs/bin/; for a in sh sleep cat true; do ln -sf busybox /tmp/b/rootfs/bin/$a; done
cd /tmp/b; O="$OLDPWD/ocirt/_bin/ocirt"
$O spec
python3 - <<'P'
import json
c=json.load(open('config.json'))
c['process']['terminal']=False
c['process']['args']=['sleep','1000']
c['linux']['cgroupsPath']='a-b.slice:test:one'
c['linux']['resources']={**c['linux'].get('resources',{}),'pids':{'limit':55},'memory':{'limit':64<<20,'swap':80<<20},'cpu':{'shares':512,'quota':15500,'cpus':'0'},'blockIO':{'weight':200}}
c['annotations']={'org.systemd.property.TimeoutStopSec':'7'}
json.dump(c,open('config.json','w'))
P
time $O --systemd-cgroup create c1 </dev/null >o 2>e; cat o e
$O start c1
$O state c1 | head -5
cat /run/ocirt/c1/state.json | tail -18
systemctl status test-one.scope --no-pager -l
systemctl show test-one.scope -p Slice,Delegate,TasksMax,MemoryMax,MemorySwapMax,CPUWeight,CPUQuotaPerSecUSec,AllowedCPUs,IOWeight,DevicePolicy,DeviceAllow,TimeoutStopUSec,DefaultDependencies,CollectMode,ControlGroup,Description
cat /proc/$($O state c1 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')/cgroup
D=/sys/fs/cgroup/a.slice/a-b.slice/test-one.scope; ls $D | head -40; for f in pids.max memory.max memory.swap.max cpu.max cpu.weight cpuset.cpus io.bfq.weight io.weight; do echo $f $(cat $D/$f); done
time $O update --pids-limit 33 --memory 33554432 c1; cat $D/pids.max $D/memory.max $D/memory.swap.max; systemctl show test-one.scope -p TasksMax,MemoryMax,MemorySwapMax
systemctl daemon-reload; cat $D/pids.max $D/memory.max $D/memory.swap.max $D/cpu.max
time $O delete --force c1; echo rc $?
systemctl status test-one.scope --no-pager; systemctl list-units --all --no-pager | grep -i -e test-one -e a-b -e ocirt; ls -d $D /sys/fs/cgroup/a.slice
journalctl -u test-one.scope --no-pager | tail
systemctl --failed --no-pager | cat
time $O --systemd-cgroup run c2 </dev/null >o 2>e & sleep 5;  $O kill c2 KILL; wait; cat o e
date
cd /ocirt
timeout 200 .venv/bin/python -m pytest -q --tb=short --durations=8 -p no:cacheprovider tests/integration/test_real_systemd.py </dev/null
date
as-user timeout 200 .venv/bin/python -m pytest -q --tb=short --durations=8 -p no:cacheprovider tests/integration/test_real_systemd.py </dev/null
