//! A client for code that may wait: the command line, and the processes that it leaves behind.

use crate::{Client, ClientError, call::Call};
use serde::de::DeserializeOwned;
use std::{path::Path, time::Duration};
use tokio::runtime::Runtime;

/// A connection to the daemon with a runtime of its own, on the calling thread; it starts no other.
#[derive(Debug)]
pub struct Blocking {
    // Before the runtime, so that the connection is dropped first.
    client: Client,
    runtime: Runtime,
}

impl Blocking {
    /// Connects.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
        let client = runtime.block_on(Client::connect(socket))?;
        Ok(Self { client, runtime })
    }

    /// Makes a call and waits for the answer.
    pub fn send<T: DeserializeOwned>(&mut self, call: &Call<T>) -> Result<T, ClientError> {
        self.runtime.block_on(self.client.send(call))
    }

    /// Makes a call whose answer is one value a line, and hands each to `each` until that returns
    /// false, the answer ends, or `limit` is over.
    pub fn lines<T: DeserializeOwned>(
        self,
        call: &Call<T>,
        limit: Option<Duration>,
        mut each: impl FnMut(T) -> bool,
    ) -> Result<(), ClientError> {
        let Self { client, runtime } = self;
        runtime.block_on(async {
            let mut lines = client.lines(call).await?;
            let read = async {
                while let Some(value) = lines.next().await? {
                    if !each(value) {
                        break;
                    }
                }
                Ok(())
            };
            match limit {
                None => read.await,
                Some(limit) => tokio::time::timeout(limit, read).await.unwrap_or(Ok(())),
            }
        })
    }
}
