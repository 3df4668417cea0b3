#!/bin/sh
# setup.sh ROOT: the guest's own settings, made in its root once its packages are in.
set -eu
chroot "$1" sh -eu <<'INSIDE'
useradd --create-home --shell /bin/bash --uid 1000 user
grep -q '^user:' /etc/subuid || usermod --add-subuids 100000-165535 --add-subgids 100000-165535 user
mkdir -p /var/lib/systemd/linger /ocirt
touch /var/lib/systemd/linger/user
systemd-machine-id-setup
sed -i "s/^SELINUX=.*/SELINUX=permissive/" /etc/selinux/config # when the kernel is told to use it; nothing is labelled
systemctl --quiet enable ocirt-guest.service
# Nothing of these is asked for by a test; each costs the boot a second.
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer containerd.service cron.service dpkg-db-backup.timer \
	e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service serial-getty@ttyS0.service \
	podman-auto-update.timer podman-auto-update.service podman.socket podman.service podman-restart.service podman-clean-transient.service \
	systemd-binfmt.service systemd-timesyncd.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
	systemd-journal-flush.service systemd-random-seed.service
INSIDE
