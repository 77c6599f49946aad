//! Debian's packages. Names of kernels change with each security update, so they are looked up, never written down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::Error;
use crate::process;

/// How often a fetch is tried; the package lists are renewed in between.
const TRIES: u32 = 3;

/// Installs the packages without what they merely recommend. Updates the package lists only when they are missing
/// or turn out to be old.
pub(crate) fn install(packages: &[&str]) -> Result<(), Error> {
    if packages.is_empty() {
        return Ok(());
    }
    if !process::is_root() {
        return Err(Error::NeedsRoot { packages: packages.iter().map(ToString::to_string).collect() });
    }
    eprintln!("+ apt-get install {}", packages.join(" "));
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    if !have_lists() {
        get(&[], &["update"])?;
    }
    for attempt in 1.. {
        match get(&[], &arguments) {
            Err(_) if attempt < TRIES => {
                std::thread::sleep(Duration::from_secs(u64::from(attempt)));
                get(&[], &["update"])?;
            }
            result => return result,
        }
    }
    Ok(())
}

/// Runs apt-get quietly; what it printed becomes part of the error. `options` are `-o` settings.
pub(crate) fn get(options: &[String], arguments: &[&str]) -> Result<(), Error> {
    run(apt_get(options).args(arguments), arguments)
}

/// Downloads one package file into `dir`.
pub(crate) fn download(options: &[String], package: &str, dir: &Path) -> Result<(), Error> {
    let arguments = ["download", package];
    run(apt_get(options).args(arguments).current_dir(dir), &arguments)
}

fn apt_get(options: &[String]) -> Command {
    let mut command = process::command("apt-get");
    // The download's own user cannot write below root's home directory.
    let ours = ["Acquire::Retries=3", "DPkg::Lock::Timeout=300", "APT::Sandbox::User=root"];
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C").arg("-q").stdin(Stdio::null());
    for option in ours.into_iter().chain(options.iter().map(String::as_str)) {
        command.args(["-o", option]);
    }
    command
}

fn run(command: &mut Command, arguments: &[&str]) -> Result<(), Error> {
    let output = command.output().map_err(process::start_error(command))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let log = lines[lines.len().saturating_sub(15)..].join("\n");
    Err(Error::Apt { arguments: arguments.join(" "), log })
}

fn have_lists() -> bool {
    let Ok(entries) = fs::read_dir("/var/lib/apt/lists") else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// The packages whose name matches the regular expression.
pub(crate) fn search(options: &[String], pattern: &str) -> Result<Vec<String>, Error> {
    let mut command = process::command("apt-cache");
    for option in options {
        command.args(["-o", option]);
    }
    let found = process::output(command.args(["search", "-n", pattern]))?;
    Ok(found.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// Whether a package of this name is in the lists.
pub(crate) fn exists(package: &str) -> bool {
    process::command("apt-cache")
        .args(["show", package])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The addresses of the machine's Debian mirror and its security archive, or Debian's own.
pub(crate) fn mirrors() -> (String, String) {
    let mut mirrors = ("http://deb.debian.org/debian/".to_owned(), "http://deb.debian.org/debian-security/".to_owned());
    let mut command = process::command("apt-get");
    command.args(["indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"]);
    for line in process::output(&mut command).unwrap_or_default().lines() {
        match line.split_once('|') {
            Some(("Debian", uri)) => mirrors.0 = uri.to_owned(),
            Some(("Debian-Security", uri)) => mirrors.1 = uri.to_owned(),
            _ => {}
        }
    }
    mirrors
}

/// Where packages that are not installed are kept between runs: `$XDG_CACHE_HOME/trunkline`.
pub(crate) fn cache() -> Result<PathBuf, Error> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home);
    let dir = base.unwrap_or_else(|| "/root/.cache".into()).join("trunkline");
    fs::create_dir_all(&dir).map_err(Error::file("make", &dir))?;
    Ok(dir)
}

/// apt's settings for lists of our own, of another release of Debian: the machine's stay as they are.
pub(crate) fn private_lists(suite: &str, cache: &Path) -> Result<Vec<String>, Error> {
    let (main, security) = mirrors();
    let apt = cache.join(format!("apt-{suite}"));
    for dir in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(apt.join(dir)).map_err(Error::file("make", apt.join(dir)))?;
    }
    let by = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
    let sources = format!("deb {by} {main} {suite} main\ndeb {by} {security} {suite}-security main\n");
    let list = apt.join("sources.list");
    fs::write(&list, sources).map_err(Error::file("write", &list))?;
    let dir = apt.display();
    Ok(vec![
        format!("Dir::Etc::SourceList={}", list.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={dir}/lists"),
        format!("Dir::Cache={dir}"),
    ])
}
