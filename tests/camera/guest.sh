#!/usr/bin/env bash
# Boot a guest with vivid (a camera) and v4l2loopback (a virtual camera) and run check_devices.py in it.
# Usage: tests/camera/guest.sh PYTHON [CHECK...]. Needs Debian 12 on x86-64 with: apt-get install qemu-system-x86
# busybox-static cpio kmod gcc make linux-headers-amd64 v4l-utils. The guest sees this machine's files read-only.
# ACCEL=tcg or kvm picks how it runs, LIMIT how many seconds it may take.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
checks=${*:2}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/out/camera
for tool in qemu-system-x86_64 busybox cpio modprobe dpkg-deb make gcc v4l2-ctl; do
  PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null || { echo "make test-camera needs $tool (see $0)"; exit 1; }
done
mkdir -p "$work" && cd "$work"
kernel=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ {sub("linux-image-", "", $2); print $2; exit}')
if [ ! -e "$kernel.ready" ]; then
  build=/lib/modules/$kernel/build
  [ -d "$build" ] || { echo "make test-camera needs: apt-get install linux-headers-$kernel"; exit 1; }
  rm -rf unpacked && mkdir unpacked
  apt-get download -q "linux-image-$kernel" v4l2loopback-dkms 2>/dev/null
  for package in "linux-image-$kernel"_*.deb v4l2loopback-dkms_*.deb; do dpkg-deb -x "$package" unpacked; done
  rm -f ./*.deb
  make -C "$build" M="$(echo "$PWD"/unpacked/usr/src/v4l2loopback-*)" modules >loopback.log 2>&1 || { tail loopback.log; exit 1; }
  cp unpacked/usr/src/v4l2loopback-*/v4l2loopback.ko "unpacked/lib/modules/$kernel/"
  PATH=$PATH:/usr/sbin:/sbin depmod -b unpacked "$kernel"
  touch "$kernel.ready"
fi

# What the guest imports is compiled here, and the model is made here: emulated, both would take long.
export PYTHONPYCACHEPREFIX=$work/bytecode PYTHONPATH=$root
unset PYTHONDONTWRITEBYTECODE
"$python" -c 'import sys, pathlib, tests.kit.models as m; m.invert_model(pathlib.Path("invert.onnx"), None)'
"$python" -c 'import tests.camera.check_devices'
"$(dirname "$python")/engine" live --list >/dev/null
"$(dirname "$python")/engine" live test: --no-web --seconds 1 --model invert.onnx --backend cpu -o udp://127.0.0.1:9 >live.log 2>&1 || {
  cat live.log
  exit 1
}
unset PYTHONPATH

rm -rf initial && mkdir -p initial/{bin,mods,proc,sys,dev,new,root,rw}
cp "$(command -v busybox)" initial/bin/
for name in sh mount insmod mkdir chroot cat poweroff; do ln -s busybox initial/bin/$name; done
number=100
for module in virtio_pci 9pnet_virtio 9p overlay vivid v4l2loopback; do
  while read -r _ file _; do
    name=$(basename "$file")
    compgen -G "initial/mods/*-$name" >/dev/null && continue
    cp "$file" "initial/mods/$number-$name"
    number=$((number + 1))
  done < <(PATH=$PATH:/usr/sbin:/sbin modprobe -d unpacked -S "$kernel" --show-depends $module | grep ^insmod)
done
cat >initial/init <<I
#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in /mods/*; do case \$m in
  *vivid*) insmod \$m n_devs=1 node_types=0x1 num_inputs=1 input_types=0 vid_cap_nr=0 ;;
  *v4l2loopback*) insmod \$m devices=2 video_nr=10,11 card_label=ganlens,mjpeg exclusive_caps=1,1 ;;
  *) insmod \$m ;;
esac || echo "cannot load \$m"; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose root /root
mount -t tmpfs t /rw; mkdir -p /rw/u /rw/w
mount -t overlay -o lowerdir=/root,upperdir=/rw/u,workdir=/rw/w o /new
mount -t devtmpfs dev /new/dev; mount -t proc proc /new/proc; mount -t sysfs sys /new/sys
chroot /new /bin/sh -c 'cd $root && HOME=/tmp PYTHONPYCACHEPREFIX=$work/bytecode PATH=$(dirname "$python"):/usr/bin:/bin \
  $python -u tests/camera/check_devices.py $work/invert.onnx $checks'
echo "guest exit \$?"
poweroff -f
I
chmod +x initial/init
(cd initial && find . | cpio -o -H newc --quiet | gzip -1) >initial.gz

# KVM runs Debian's kernel only on the CPU's own virtualisation; nested in a paravirtualised guest (kvm_pvm) it does not.
accel=tcg
if [ -w /dev/kvm ] && { [ -d /sys/module/kvm_intel ] || [ -d /sys/module/kvm_amd ]; }; then accel=kvm; fi
accel=${ACCEL:-$accel}
echo "guest: Linux $kernel, $accel"
timeout "${LIMIT:-480}" qemu-system-x86_64 ${ICOUNT--icount shift=0,sleep=on} -accel "$accel" -cpu max -smp 1 -m 1500 -nographic -no-reboot \
  -kernel "unpacked/boot/vmlinuz-$kernel" -initrd initial.gz -append "console=ttyS0 quiet tsc=unstable nokaslr edd=off" \
  -fsdev local,id=r,path=/,security_model=none,readonly=on,multidevs=remap -device virtio-9p-pci,fsdev=r,mount_tag=root \
  </dev/null | tee guest.log || true
grep -q '^guest exit 0' guest.log
