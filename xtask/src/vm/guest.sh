# PID 1 of the guest once its root is there. $1: the run's directory on the host, which holds
#   modules  where the kernel's modules are      mounts   tag and directory of each read-write share
#   command  the command, as a shell script      trailer  what ends the command's two streams
# When it ends, the kernel panics and qemu with it: the host takes that for a failure unless "done" came before.
run=$1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
exec </dev/null
mount -n -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns /dev/pts /dev/shm
mount -n -t devpts devpts /dev/pts
mount -n -t tmpfs -o mode=1777 shm /dev/shm
if [ ! -e /dev/fd ]; then
	ln -s /proc/self/fd /dev/fd
	ln -s fd/0 /dev/stdin
	ln -s fd/1 /dev/stdout
	ln -s fd/2 /dev/stderr
fi
read -r release </proc/sys/kernel/osrelease
read -r modules <"$run/modules"
mkdir -p "/lib/modules/$release"
mount -n --bind "$modules/$release" "/lib/modules/$release"
mount -n -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount -n -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -n -t bpf bpf /sys/fs/bpf 2>/dev/null
for port in /sys/class/virtio-ports/*; do
	read -r name <"$port/name" && declare "port_$name=/dev/${port##*/}"
done
exec 7>"$port_ctl" 8>"$port_out" 9>"$port_err"
ip link set lo up
while read -r tag dir; do
	mkdir -p "$dir"
	mount -n -t virtiofs "$tag" "$dir" || echo "trunkline: cannot mount $tag on $dir"
done <"$run/mounts"
echo trunkline >/proc/sys/kernel/hostname
ulimit -n 524288
read -r up _ </proc/uptime
echo "ready $release $up" >&7

/bin/bash "$run/command" >&8 2>&9 7>&- 8>&- 9>&-
code=$?

read -r end _ </proc/uptime
read -r taint </proc/sys/kernel/tainted
# 128: the kernel oopsed, 512: it warned. The command may have passed all the same; its output must show it.
[ $((taint & (128 | 512))) = 0 ] || {
	echo "the guest's kernel warned or oopsed (taint $taint):"
	dmesg | grep -aE -A25 'WARNING:|BUG:|Oops|general protection' | head -60
} >&9
while read -r tag dir; do umount -n "$dir" 2>/dev/null || umount -n -l "$dir"; done <"$run/mounts"
sync
cat "$run/trailer" >&8
cat "$run/trailer" >&9
echo "done $code $end" >&7
exec sleep 1000000 # the host ends qemu once it has read both streams to their trailers
