//! `cargo xtask vm`: a throw-away virtual machine that sees this machine's files and runs one command as root.
//!
//! The guest's root is this machine's, shared read-only by virtiofs under an overlay in memory, so that every program
//! and test binary is there under its own path. What the command writes is lost, but for the directories given
//! with `--rw`.

mod cpio;
mod files;
mod guest;
mod kernel;
mod qemu;
mod share;
mod streams;

use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::{apt, process};

pub(crate) use guest::{Output, boot_and_run};

/// The kernel series that everything is tested with, the usual one first.
pub(crate) const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// How the guest's processor is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Accel {
    /// KVM where it can run a stock kernel, else TCG
    Auto,
    /// Emulation: works everywhere
    Tcg,
    /// The host processor's own virtualisation
    Kvm,
}

/// The arguments of `cargo xtask vm`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel's series, as Debian packages it (cloud flavour)
    #[arg(long, value_name = "SERIES", default_value = KERNELS[0])]
    kernel: String,
    /// A directory in which the guest's writes are kept
    #[arg(long, value_name = "DIR")]
    rw: Vec<PathBuf>,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MB", default_value_t = 1024)]
    mem: u32,
    /// The guest's processors (under emulation, more than one makes everything slower)
    #[arg(long, value_name = "N", default_value_t = 1)]
    smp: u32,
    /// Set a variable in the command's environment, which is otherwise this one
    #[arg(long, value_name = "K=V")]
    env: Vec<String>,
    /// End the command after so many seconds (exit code 124)
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
    /// How to run the guest's processor
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    accel: Accel,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// What to run, and in what machine.
#[derive(Clone)]
pub(crate) struct Job {
    /// "6.1", "6.12".
    pub(crate) kernel: String,
    /// Directories in which writes are kept.
    pub(crate) rw: Vec<PathBuf>,
    /// MiB.
    pub(crate) memory: u32,
    /// Virtual processors.
    pub(crate) processors: u32,
    /// Variables set over this process's own environment.
    pub(crate) env: Vec<(String, String)>,
    /// Seconds the command may take; None: as long as it wants.
    pub(crate) timeout: Option<u64>,
    /// TCG or KVM.
    pub(crate) accel: Accel,
    /// Where the command runs.
    pub(crate) directory: PathBuf,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
}

impl Job {
    /// The command in `directory`, in a machine of the usual size.
    pub(crate) fn new(kernel: &str, directory: &Path, command: Vec<String>) -> Job {
        Job {
            kernel: kernel.to_owned(),
            rw: Vec::new(),
            memory: 1024,
            processors: 1,
            env: Vec::new(),
            timeout: None,
            accel: Accel::Auto,
            directory: directory.to_owned(),
            command,
        }
    }
}

/// Runs the command line's command and returns its exit code.
pub(crate) fn run(args: &Args) -> Result<u8, Error> {
    let directory = std::env::current_dir().map_err(Error::file("find", "."))?;
    let mut job = Job::new(&args.kernel, &directory, args.command.clone());
    for dir in &args.rw {
        if !dir.is_dir() {
            return Err(Error::Usage(format!("--rw {}: no such directory", dir.display())));
        }
        job.rw.push(dir.canonicalize().map_err(Error::file("resolve", dir))?);
    }
    for pair in &args.env {
        match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => job.env.push((name.to_owned(), value.to_owned())),
            _ => return Err(Error::Usage(format!("--env {pair}: K=V is wanted"))),
        }
    }
    (job.memory, job.processors, job.timeout, job.accel) = (args.mem, args.smp, args.timeout, args.accel);
    run_here(&job)
}

/// Runs the job with this process's stdout and stderr.
pub(crate) fn run_here(job: &Job) -> Result<u8, Error> {
    install_programs()?;
    let out: Box<dyn Write + Send> = Box::new(stdout());
    let err: Box<dyn Write + Send> = Box::new(stderr());
    boot_and_run(job, Output { out, err })
}

/// Installs what a virtual machine needs and is missing here.
pub(crate) fn install_programs() -> Result<(), Error> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Usage("the virtual machine is made for x86_64 only".to_owned()));
    }
    if !process::is_root() {
        return Err(Error::RootForVm);
    }
    let mut missing = Vec::new();
    for (program, package) in
        [("qemu-system-x86_64", "qemu-system-x86"), ("modprobe", "kmod"), ("ip", "iproute2"), ("xz", "xz-utils")]
    {
        if process::find(program).is_none() {
            missing.push(package);
        }
    }
    if share::server().is_none() {
        // Debian 12 has it inside qemu's own package; from 13 on it is one of its own.
        missing.push(if apt::exists("virtiofsd") { "virtiofsd" } else { "qemu-system-common" });
    }
    if !files::busybox_is_static() {
        missing.push("busybox-static");
    }
    apt::install(&missing)
}
