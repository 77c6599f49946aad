//! What netavark asks of a plugin. Each verb may come again after a crash, and then has the same outcome.

use crate::document::{Attachment, Network, Status};
use crate::spec::{self, IPAM_DRIVER, Wanted};
use crate::{API_VERSION, Error};
use api::{Client, ClientError, call};
use model::request::{CheckRequest, ConnectRequest, DisconnectRequest, Target};
use model::view::{EndpointView, NetworkView};
use model::{DriverKind, NetworkSpec, Owner};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::path::Path;

const NOT_FOUND: Option<u16> = Some(404);
const CONFLICT: Option<u16> = Some(409);

/// A driver, and where its daemon is.
#[derive(Debug, Clone, Copy)]
pub struct Plugin<'a> {
    /// The driver.
    pub driver: DriverKind,
    /// The daemon's socket.
    pub socket: &'a Path,
}

/// The version of the program and of the API that it speaks.
pub fn info() -> Value {
    json!({ "version": env!("CARGO_PKG_VERSION"), "api_version": API_VERSION })
}

/// Reads a verb's document.
///
/// # Errors
/// What the parser says of it.
pub fn read<T: DeserializeOwned>(verb: &'static str, input: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(input).map_err(|error| Error::Input { verb, reason: error.to_string() })
}

impl Plugin<'_> {
    fn connect(&self) -> Result<Client, Error> {
        Ok(Client::connect(self.socket)?)
    }

    /// Makes a network, or finds the one that is meant; the document as Podman is to keep it.
    ///
    /// # Errors
    /// A network that cannot be made, or that is there and another one.
    pub fn create(&self, input: &[u8]) -> Result<Value, Error> {
        let document: Map<String, Value> = read("create", input)?;
        let network: Network = read("create", input)?;
        let wanted = spec::network(self.driver, &network)?;
        let mut daemon = self.connect()?;
        let found = match &wanted {
            Wanted::Defined(definition) => {
                let planned = daemon.send(&call::plan_network(definition));
                // A name that is taken, say: the reason is the creation's to tell.
                let planned = planned.map(|planned| spec::with_gateways(definition, &planned.subnets));
                make(&mut daemon, planned.as_ref().unwrap_or(definition), definition)?
            }
            Wanted::Bound { name, internal } => {
                let found = daemon.send(&call::network(name))?;
                match self.is_other(&network, *internal, &found) {
                    None => found,
                    Some(other) => {
                        let reason = format!("network {name} is bound as it is: {other}");
                        return Err(Error::Unsupported { name: network.name, reason });
                    }
                }
            }
        };
        Ok(kept(document, &found))
    }

    /// What of a network that is to be bound is not as Podman has it, in words that tell what to do.
    fn is_other(&self, network: &Network, internal: bool, found: &NetworkView) -> Option<String> {
        if found.driver != self.driver {
            return Some(format!("create it with -d {}", spec::file_name(found.driver)));
        }
        if internal && !found.internal {
            return Some("leave --internal out, for it is not".into());
        }
        let mut given = network.subnets.iter().flatten().map(|s| s.subnet.trunc());
        let other = given.find(|prefix| !found.subnets.iter().any(|s| s.subnet.prefix == *prefix));
        other.map(|prefix| format!("leave subnet {prefix} out"))
    }

    /// Attaches the namespace at `path`. A network of Podman's that Trunkline no longer has is made again.
    ///
    /// # Errors
    /// The daemon's.
    pub fn setup(&self, path: &Path, input: &[u8]) -> Result<Status, Error> {
        let attachment: Attachment = read("setup", input)?;
        let wanted = spec::network(self.driver, &attachment.network)?;
        let request = ConnectRequest {
            target: Target::Path(path.to_owned()),
            endpoint: spec::endpoint(&attachment)?,
            define: wanted.definition().cloned(),
        };
        let endpoint = attach(&mut self.connect()?, wanted.name(), request)?;
        if attachment.port_mappings.iter().flatten().next().is_some() {
            let name = &attachment.network.name;
            eprintln!(
                "warning: network {name}: published ports have no effect, its containers are reached at their own \
                 addresses"
            );
        }
        Ok(spec::status(&attachment, &endpoint))
    }

    /// Detaches what `setup` attached; whatever is gone already, its namespace or the network, is as it should be.
    ///
    /// # Errors
    /// The daemon's: the endpoint may be there still. A namespace that goes without it is seen by the daemon.
    pub fn teardown(&self, input: &[u8]) -> Result<(), Error> {
        let attachment: Attachment = read("teardown", input)?;
        let wanted = spec::network(self.driver, &attachment.network)?;
        Ok(detach(&mut self.connect()?, wanted.name(), spec::owner(&attachment))?)
    }
}

/// Makes a network by its definition with gateways, or finds one that is as defined.
fn make(daemon: &mut Client, whole: &NetworkSpec, definition: &NetworkSpec) -> Result<NetworkView, Error> {
    let name = definition.name.as_str();
    match daemon.send(&call::create_network(whole)) {
        Ok(created) => {
            created.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            Ok(daemon.send(&call::network(created.id.as_str()))?)
        }
        Err(refused) if refused.status() == CONFLICT => {
            // What has its name is compared with it; if nothing has, something else was in the way.
            let found = daemon.send(&call::network(name)).ok().filter(|found| found.name == name);
            let define = Some(definition.clone());
            daemon.send(&call::check_network(name, &CheckRequest { target: None, define }))?;
            found.ok_or(refused.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn attach(daemon: &mut Client, name: &str, mut request: ConnectRequest) -> Result<EndpointView, Error> {
    let refused = match daemon.send(&call::connect(name, &request)) {
        Err(error) if error.status() == CONFLICT => error,
        done => return Ok(done?),
    };
    // An earlier setup whose end Podman did not see: its namespace may be another one, of the same path even.
    let Some(owner) = request.endpoint.owner.clone() else { return Err(refused.into()) };
    let endpoints = daemon.send(&call::network(name)).map(|network| network.endpoints).unwrap_or_default();
    let Some(earlier) = endpoints.into_iter().find(|e| e.owner.as_ref() == Some(&owner)) else {
        return Err(refused.into());
    };
    detach(daemon, name, owner)?;
    let asked = request.clone();
    spec::keep(&mut request.endpoint, &earlier);
    match daemon.send(&call::connect(name, &request)) {
        // Another may have taken the address meanwhile.
        Err(_) => Ok(daemon.send(&call::connect(name, &asked))?),
        done => Ok(done?),
    }
}

/// Detaches, unless that is done.
fn detach(daemon: &mut Client, network: &str, owner: Owner) -> Result<(), ClientError> {
    match daemon.send(&call::disconnect(network, &DisconnectRequest { target: Target::Owner(owner) })) {
        Err(error) if error.status() == NOT_FOUND => Ok(()),
        done => done.map(drop),
    }
}

/// The document of a network with what was decided on: addresses are Trunkline's, and so Podman's containers start
/// without any. There is no name server for it.
fn kept(mut document: Map<String, Value>, network: &NetworkView) -> Value {
    document.retain(|_, value| !value.is_null());
    let subnets = serde_json::to_value(spec::subnets(network)).unwrap_or_default();
    document.insert("subnets".into(), subnets);
    document.insert("ipv6_enabled".into(), network.ipv6.into());
    document.insert("internal".into(), network.internal.into());
    document.insert("dns_enabled".into(), false.into());
    let ipam = document.entry("ipam_options").or_insert_with(|| json!({}));
    if let Some(ipam) = ipam.as_object_mut() {
        ipam.insert("driver".into(), IPAM_DRIVER.into());
    }
    Value::Object(document)
}

/// A failure as netavark reads it: one line, and no escape sequence that came with a document's text.
pub fn failure(error: &Error) -> Value {
    json!({ "error": error.to_string().replace(char::is_control, " ") })
}

/// A document as netavark reads it.
///
/// # Errors
/// None: these documents have texts for keys. serde's type says that there may be some.
pub fn write(document: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(document)
        .map_err(|error| Error::Process { operation: "write the answer", source: error.into() })
}
