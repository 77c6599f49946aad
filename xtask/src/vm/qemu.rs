//! The emulator's command line, and how its processor is made.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::files::RunDir;
use super::kernel::Kernel;
use super::{Accel, Job, share};
use crate::error::Error;
use crate::process;

/// A process that is killed and reaped when this value goes.
pub(super) struct Ended(pub(super) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself: that is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The accelerators to try, in turn: a boot that fails is tried again.
pub(super) fn accelerators(wanted: Accel) -> Vec<Accel> {
    match wanted {
        Accel::Kvm | Accel::Tcg => vec![wanted, wanted],
        Accel::Auto if kvm_runs_stock_kernels() => vec![Accel::Kvm, Accel::Tcg, Accel::Tcg],
        Accel::Auto => vec![Accel::Tcg, Accel::Tcg, Accel::Tcg],
    }
}

/// KVM over VMX or SVM. kvm_pvm, KVM without either, cannot boot a kernel that was not built for it.
fn kvm_runs_stock_kernels() -> bool {
    let module = |name: &str| Path::new("/sys/module").join(name).exists();
    let usable = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    usable && (module("kvm_intel") || module("kvm_amd")) && !module("kvm_pvm")
}

/// Starts qemu. Its three serial ports connect to the sockets `out`, `err` and `ctl` of the run's directory.
pub(super) fn start(job: &Job, kernel: &Kernel, run: &RunDir, accel: Accel) -> Result<Ended, Error> {
    let mut command = share::dying_with_us();
    command.arg("qemu-system-x86_64").args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    machine(&mut command, job, accel);
    let append = format!(
        // norandmaps: qemu 7.2 keeps translated code by its address, so that with random ones each process
        // translates libc anew (25 ms a process instead of 8). panic=-1: the end of PID 1 is the end of qemu.
        "console=ttyS0 loglevel=5 panic=-1 mitigations=off norandmaps nokaslr random.trust_cpu=on \
         audit=0 apparmor=0 selinux=0 net.ifnames=0 trunkline.run={}",
        run.path().display()
    );
    command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(run.file("initramfs"));
    command.args(["-append", &append]).arg("-serial").arg(format!("file:{}", run.file("console").display()));
    virtiofs(&mut command, run, "root", "root.sock");
    for index in 0..job.rw.len() {
        virtiofs(&mut command, run, &format!("rw{index}"), &format!("rw{index}.sock"));
    }
    command.args(["-device", "virtio-serial-pci,max_ports=4"]);
    for port in ["out", "err", "ctl"] {
        command.arg("-chardev").arg(format!("socket,id={port},path={}", run.file(port).display()));
        command.arg("-device").arg(format!("virtserialport,chardev={port},name={port}"));
    }
    let log = run.create("qemu.log")?;
    let log_too = log.try_clone().map_err(Error::file("copy", run.file("qemu.log")))?;
    command.stdin(Stdio::null()).stdout(log).stderr(log_too);
    Ok(Ended(command.spawn().map_err(process::start_error(&command))?))
}

fn machine(command: &mut Command, job: &Job, accel: Accel) {
    let memory = job.memory;
    command.args(["-m", &memory.to_string(), "-smp", &job.processors.to_string()]);
    // virtiofsd reads and writes the guest's memory, so it is shared; memfd needs no /dev/shm.
    command.args(["-object", &format!("memory-backend-memfd,id=mem,size={memory}M,share=on")]);
    // Not microvm, which boots sooner but hangs in one boot of three.
    command.args(["-M", "q35,memory-backend=mem,vmport=off"]);
    match accel {
        Accel::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
        // Nehalem: no AVX, which TCG runs eight times slower than SSE.
        _ => command.args(["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "Nehalem,+rdrand,+aes,+pclmulqdq"]),
    };
}

fn virtiofs(command: &mut Command, run: &RunDir, tag: &str, socket: &str) {
    command.arg("-chardev").arg(format!("socket,id=fs-{tag},path={}", run.file(socket).display()));
    command.arg("-device").arg(format!("vhost-user-fs-pci,chardev=fs-{tag},tag={tag},queue-size=512"));
}
