//! `trunkline store export` and `trunkline store import`: what hosts share, out of one store and into another.

use crate::error::Error;
use crate::output;
use crate::session::Session;
use ::daemon::{StoreConfig, StoreFlags};
use ::store::transfer::{self, Into};
use api::call;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "\
To move a host from its own file to a store that hosts share, while its containers run:
  trunkline store export networks.json
  trunkline store import --store etcd://HOST:2379 networks.json
  restart the daemon with --store etcd://HOST:2379
Traffic goes on all the while. What is created or removed between the first step and the last is not carried over.")]
pub(crate) enum Command {
    /// Write networks, endpoints and claims as lines of JSON: the running daemon's, or those of --store
    Export(ExportArgs),
    /// Read what `export` wrote into a store that no daemon uses yet
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    store: StoreFlags,
    /// The file, which must not be there yet; default: standard output
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    store: StoreFlags,
    /// Put records beside and over those that are there, instead of refusing a store that holds others
    #[arg(long)]
    merge: bool,
    /// The file; default: standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

fn open(flags: &StoreFlags) -> Result<Option<std::sync::Arc<dyn ::store::Store>>, Error> {
    let config = StoreConfig::load(flags, |name| std::env::var(name).ok())?;
    if let Some(path) = config.as_ref().and_then(StoreConfig::path)
        && let Err(source) = std::fs::symlink_metadata(path)
    {
        // Opening would make it: there is a slip of the pen, not a store.
        return Err(Error::File { operation: "open the store", path: path.into(), source });
    }
    config.map(|config| config.open().map_err(Error::from)).transpose()
}

pub(crate) fn dispatch(command: &Command, session: &Session) -> Result<u8, Error> {
    match command {
        Command::Export(args) => export(args, session),
        Command::Import(args) => import(args),
    }
}

fn export(args: &ExportArgs, session: &Session) -> Result<u8, Error> {
    // A variable of the environment may name the daemon's own store: that is for the daemon.
    let store = if args.store.store.is_some() { open(&args.store)? } else { None };
    let mut lines = Vec::new();
    match store {
        Some(store) => {
            transfer::export(store.as_ref(), "", |key| !::daemon::is_shared_record(key), &mut lines)?;
        }
        None => session.daemon()?.lines(&call::export(), None, |line| {
            lines.extend(line.get().as_bytes());
            lines.push(b'\n');
            true
        })?,
    }
    match args.file.as_deref().filter(|file| *file != Path::new("-")) {
        None => output::text(&String::from_utf8_lossy(&lines))?,
        Some(path) => {
            let failed = |source| Error::File { operation: "write", path: path.into(), source };
            // The records tell who has which address: not everybody's business.
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
            let mut file = BufWriter::new(file);
            file.write_all(&lines).and_then(|()| file.flush()).map_err(failed)?;
            file.get_ref().sync_all().map_err(failed)?;
        }
    }
    Ok(0)
}

fn import(args: &ImportArgs) -> Result<u8, Error> {
    let store = open(&args.store)?.ok_or_else(|| Error::Value {
        what: "store",
        text: String::new(),
        expected: "name the store to import into, with --store etcd://HOST:PORT or consul://HOST:PORT".into(),
    })?;
    let into = if args.merge { Into::Merge } else { Into::Empty };
    let imported = match args.file.as_deref().filter(|file| *file != Path::new("-")) {
        None => transfer::import(store.as_ref(), into, io::stdin().lock()),
        Some(path) => {
            let failed = |source| Error::File { operation: "read", path: path.into(), source };
            transfer::import(store.as_ref(), into, BufReader::new(File::open(path).map_err(failed)?))
        }
    };
    let imported = imported.map_err(|error| Error::Import { reason: error.to_string() })?;
    output::line(&format!("{} records written, {} were there already", imported.written, imported.same))?;
    Ok(0)
}
