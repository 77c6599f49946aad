//! Leases as sessions that delete their keys.

use std::time::Duration;

use serde_json::json;

use super::answers::{self, Session, session_number, session_text};
use super::http::Server;
use super::{Consul, fault};
use crate::remote::Fault;
use crate::{Error, LeaseId};

/// Consul's greatest.
const GREATEST: Duration = Duration::from_secs(86_400);

impl Consul {
    pub(super) async fn create_session(&self, server: &Server, ttl: Duration) -> Result<LeaseId, Fault> {
        if ttl > GREATEST {
            let reason = format!("its time to live is too long: Consul's sessions live {GREATEST:?} at most");
            return Err(Fault::Answer(Error::Invalid { object: format!("lease of {ttl:?}"), reason }));
        }
        // Without the health check of the agent's node, which it has unless told: a session of ours
        // is kept alive by us. Older versions call the field Checks, newer ones NodeChecks.
        let none: [&str; 0] = [];
        let body = json!({
            "TTL": format!("{}ms", ttl.as_millis()), "Behavior": "delete", "LockDelay": "0s",
            "Checks": none, "NodeChecks": none,
        });
        let answer = server.put("/v1/session/create", body.to_string().into_bytes()).await?;
        if answer.status != 200 {
            return Err(fault(&answer));
        }
        let session: Session = answers::read(&answer.body).map_err(Fault::Lost)?;
        let id = session_number(&session.id).ok_or_else(|| Fault::Lost(format!("a session {:?}", session.id)))?;
        Ok(LeaseId(id))
    }

    pub(super) async fn renew_session(&self, server: &Server, lease: LeaseId) -> Result<(), Fault> {
        let answer = server.put(&format!("/v1/session/renew/{}", session_text(lease.0)), Vec::new()).await?;
        match answer.status {
            200 => Ok(()),
            404 => Err(Fault::Answer(Error::NoLease { lease })),
            _ => Err(fault(&answer)),
        }
    }

    /// Consul destroys what is not there, too: so first it is asked.
    pub(super) async fn destroy_session(&self, server: &Server, lease: LeaseId) -> Result<(), Fault> {
        let id = session_text(lease.0);
        let answer = server.get(&format!("/v1/session/info/{id}?consistent")).await?;
        if answer.status != 200 {
            return Err(fault(&answer));
        }
        let found: Option<Vec<Session>> = answers::read(&answer.body).map_err(Fault::Lost)?;
        if found.unwrap_or_default().is_empty() {
            return Err(Fault::Answer(Error::NoLease { lease }));
        }
        let answer = server.put(&format!("/v1/session/destroy/{id}"), Vec::new()).await?;
        if answer.status == 200 { Ok(()) } else { Err(fault(&answer)) }
    }
}
