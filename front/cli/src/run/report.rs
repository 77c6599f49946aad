//! Telling how a command ended: to a file first, for a daemon that is away, then to the daemon.

use api::{Client, ClientError, call};
use model::request::ExitReport;
use model::view::SandboxView;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a daemon may be away before the file alone must do.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Reports the end. When this returns the daemon has detached the namespace, or is away.
pub(crate) fn ended(socket: &Path, sandbox: &SandboxView, code: u8) {
    // If it cannot be written the daemon may still be there to be told.
    let _ = write(&sandbox.exit_file, code);
    let report = ExitReport { code: code.into() };
    let start = Instant::now();
    loop {
        let told = Client::connect(socket)
            .and_then(|mut daemon| daemon.send(&call::sandbox_exited(sandbox.id.as_str(), &report)));
        match told {
            Err(error) if again(&error) && start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(error) if again(&error) => return,
            // Told, or there is nothing to tell (the sandbox is unknown).
            _ => break,
        }
    }
    let _ = std::fs::remove_file(&sandbox.exit_file);
}

/// Whether another try makes sense: the daemon is away, or could not do it just now.
fn again(error: &ClientError) -> bool {
    error.is_transient() || error.status() == Some(500)
}

/// By way of another name: a daemon that looks sees all of it, or nothing.
fn write(path: &Path, code: u8) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let draft = path.with_extension("new");
    std::fs::write(&draft, format!("{code}\n"))?;
    std::fs::rename(draft, path)
}
