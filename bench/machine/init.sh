#!/bin/busybox sh
# shellcheck shell=dash
# Process 1 of the emulated machine: mounts, modules, then /job; its output goes to the second serial line, and what it
# left in /result, with its exit status, as a tar archive to the third. The first is the kernel's console.
export PATH=/bin HOME=/ TERM=dumb RESULT=/result
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mkdir -p /proc /sys /tmp /run /root /result /dev/pts /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
ifconfig lo 127.0.0.1 up
hostname machine
while read -r module; do
	insmod "/modules/$module" || echo "machine: $module does not load"
done </modules/order
cd /trapgate || exit
if [ -e /interactive ]; then
	setsid -c /bin/sh /job
else
	stty -F /dev/ttyS1 raw -echo
	stty -F /dev/ttyS2 raw -echo
	setsid /bin/sh /job >/dev/ttyS1 2>&1 </dev/null
	echo $? >/result/status
	tar -c -C /result . >/dev/ttyS2
fi
sync
poweroff -f
