#!/bin/busybox sh
# The initramfs's PID 1: puts this machine's root, read-only, under a tmpfs overlay and goes on in it.
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module" || echo "trunkline: insmod $module failed"; done </modules/list
for word in $(cat /proc/cmdline); do
	case $word in trunkline.run=*) run=${word#trunkline.run=} ;; esac
done
mount -t tmpfs -o mode=755,size=90% tmpfs /new && mkdir /new/lower /new/upper /new/work /new/root
mount -t virtiofs -o ro root /new/lower || echo "trunkline: cannot mount the shared root"
mount -t overlay -o lowerdir=/new/lower,upperdir=/new/upper,workdir=/new/work overlay /new/root ||
	echo "trunkline: cannot mount the overlay"
cd /new/root || exit 1
mount -o move /proc proc
mount -o move /sys sys
mount -o move /dev dev
exec switch_root /new/root /bin/bash "$run/guest.sh" "$run"
