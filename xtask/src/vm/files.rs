//! Directories that go when the process does, and the initramfs.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::cpio::Archive;
use super::kernel::Kernel;
use crate::error::Error;
use crate::process;

const BUSYBOX: &str = "/bin/busybox";

/// Modules that the guest needs before it has a root, in the order that their dependencies allow.
const EARLY_MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "virtiofs", "overlay"];

/// 64 random bits, from the seed that the standard library takes for its hash maps.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// A private directory that is removed at the end, also when this process is killed: a small process waits for the
/// end of the pipe that only this one holds open.
pub(super) struct RunDir {
    path: PathBuf,
    remover: Child,
}

impl RunDir {
    pub(super) fn new() -> Result<RunDir, Error> {
        // A kernel command line has no quoting worth the name.
        let temp = Some(std::env::temp_dir()).filter(|dir| !dir.to_string_lossy().contains(char::is_whitespace));
        let path = temp.unwrap_or_else(|| "/tmp".into()).join(format!("trunkline-vm-{:016x}", random()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::file("make", &path))?;
        let mut command = process::command("sh");
        command.args(["-c", r#"trap "" INT TERM HUP QUIT; read -r _; rm -rf "$1""#, "sh"]).arg(&path);
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let remover = command.spawn().map_err(process::start_error(&command))?;
        Ok(RunDir { path, remover })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in it.
    pub(super) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<(), Error> {
        fs::write(self.file(name), contents).map_err(Error::file("write", self.file(name)))
    }

    /// Makes an empty file in it.
    pub(super) fn create(&self, name: &str) -> Result<File, Error> {
        File::create(self.file(name)).map_err(Error::file("make", self.file(name)))
    }

    /// The last lines of a file in it, for an error.
    pub(super) fn tail(&self, name: &str, lines: usize) -> String {
        let text = fs::read(self.file(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        // Nothing can be done about a failure here; the directory lies in the place for temporary files.
        let _ = self.remover.wait();
    }
}

/// Whether there is a busybox that runs without this machine's libraries. ldd fails for a program without any.
pub(super) fn busybox_is_static() -> bool {
    let ldd = |file| process::command("ldd").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Path::new(BUSYBOX).exists() && ldd(BUSYBOX).is_ok_and(|status| !status.success())
}

/// The initramfs: busybox, the early modules with all they depend on, and the script that mounts the root.
pub(super) fn initramfs(kernel: &Kernel) -> Result<Vec<u8>, Error> {
    let mut archive = Archive::new();
    let mut names = String::new();
    archive.directory("bin");
    archive.directory("modules");
    for module in EARLY_MODULES {
        for path in kernel.module_files(module)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !names.lines().any(|known| known == name) {
                archive.file(&format!("modules/{name}"), &read(&path)?);
                names.push_str(&name);
                names.push('\n');
            }
        }
    }
    archive.file("modules/list", names.as_bytes());
    archive.file("bin/busybox", &read(Path::new(BUSYBOX))?);
    archive.file("init", include_bytes!("init.sh"));
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::file("read", path))
}
