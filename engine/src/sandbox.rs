//! Sandboxes: the processes of `trunkline run`, known by name. Whoever started the process keeps it;
//! the engine attaches it, remembers it, and takes its endpoints away when it ends.

use crate::engine::{entropy, now};
use crate::intent::{Intent, Subject};
use crate::target::place;
use crate::{Engine, Error, records};
use model::request::{ExitReport, SandboxRequest};
use model::view::SandboxView;
use model::{Endpoint, Name, NameKind, NamespaceId, Sandbox, SandboxId, SandboxStatus};

impl Engine {
    /// Knows a process by name and attaches it; on an error nothing is kept.
    pub fn create_sandbox(&self, request: &SandboxRequest) -> Result<SandboxView, Error> {
        let id = SandboxId::from_entropy(entropy()?);
        let _mine = self.reservations.take([id.to_string()]);
        let sandbox = self.reserve_sandbox(id, request)?;
        let made = self.realise_sandbox(request, &sandbox);
        if let Err(error) = made {
            if let Err(undo) = self.withdraw_sandbox(&sandbox) {
                tracing::error!(sandbox = %sandbox.name, error = %undo, "a failed sandbox is still to be undone");
            }
            return Err(error);
        }
        self.state().unsettled.remove(sandbox.id.as_str());
        self.emit("sandbox", "start", sandbox.id.as_str(), sandbox.name.as_str(), &[]);
        self.sandbox(sandbox.id.as_str())
    }

    fn reserve_sandbox(&self, id: SandboxId, request: &SandboxRequest) -> Result<Sandbox, Error> {
        let wanted = if request.name.is_empty() { format!("sb-{}", id.short()) } else { request.name.clone() };
        let name = Name::new(NameKind::Sandbox, &wanted)?;
        let found = self.locate(&model::request::Target::Pid(request.pid))?;
        let gone = || Error::NotFound { object: "process", name: request.pid.to_string(), hint: ": it has ended" };
        let sandbox = Sandbox {
            id,
            name,
            process: found.process.ok_or_else(gone)?,
            namespace: found.namespace,
            command: request.command.clone(),
            log: request.log.clone(),
            remove: request.remove,
            status: SandboxStatus::Running,
            created: now(),
        };
        let mut state = self.state();
        if let Some(other) = state.sandboxes.values().find(|s| s.name == sandbox.name) {
            let (name, id) = (&other.name, other.id.short());
            return Err(Error::Conflict(format!(
                "sandbox name {name} is in use by {id}: remove it with `trunkline rm {name}`"
            )));
        }
        state.unsettled.insert(sandbox.id.to_string());
        state.sandboxes.insert(sandbox.id.clone(), sandbox.clone());
        Ok(sandbox)
    }

    fn realise_sandbox(&self, request: &SandboxRequest, sandbox: &Sandbox) -> Result<(), Error> {
        self.runs.write(&Intent::sandbox(sandbox))?;
        let pending = self.local.submit(records::put_sandbox(sandbox));
        let attached = request.endpoints.iter().try_for_each(|spec| {
            let mut at = self.locate_process(sandbox.process.pid)?;
            at.sandbox = Some(sandbox.id.clone());
            self.attach(&spec.network, spec, at).map(drop)
        });
        let recorded = pending.wait().map_err(Error::store("record sandbox", &sandbox.name));
        attached?;
        recorded?;
        self.runs.settle(Subject::Sandbox(sandbox.id.clone()))
    }

    /// Notes that a sandbox's command ended, and takes its endpoints away.
    pub fn sandbox_exited(&self, reference: &str, report: &ExitReport) -> Result<SandboxView, Error> {
        let sandbox = self.state().sandbox(reference)?.clone();
        let mut view = self.sandbox(sandbox.id.as_str())?;
        view.status = self.end_sandbox(&sandbox, Some(report.code))?;
        Ok(view)
    }

    /// Looks whether a sandbox's process is still there; if not, it has ended.
    pub(crate) fn check_sandbox(&self, sandbox: &Sandbox) -> Result<(), Error> {
        match self.locate_process(sandbox.process.pid) {
            Ok(at) if at.process == Some(sandbox.process) && at.namespace == sandbox.namespace => return Ok(()),
            Ok(_) | Err(Error::NotFound { .. }) => {}
            // That is no end.
            Err(error) => return Err(error),
        }
        self.end_sandbox(sandbox, self.runs.exit_code(&sandbox.id)).map(drop)
    }

    fn end_sandbox(&self, sandbox: &Sandbox, code: Option<i32>) -> Result<SandboxStatus, Error> {
        let _mine = self.reservations.take([sandbox.id.to_string()]);
        // Not in the `match` itself, whose arms would run under the state's lock.
        let known = self.state().sandboxes.get(&sandbox.id).map(|s| s.status.clone());
        match known {
            Some(SandboxStatus::Running) => {}
            // Its namespace's end was seen first; its monitor knows the code.
            Some(SandboxStatus::Exited { code: None, at }) if code.is_some() => {
                return self.record_end(sandbox, SandboxStatus::Exited { code, at });
            }
            Some(ended) => return Ok(ended),
            None => return Err(Error::NotFound { object: "sandbox", name: sandbox.name.to_string(), hint: "" }),
        }
        let status = SandboxStatus::Exited { code, at: now() };
        let attributes: Vec<_> = code.map(|c| ("code", c.to_string())).into_iter().collect();
        self.emit("sandbox", "exit", sandbox.id.as_str(), sandbox.name.as_str(), &attributes);
        if sandbox.remove {
            self.withdraw_sandbox(sandbox)?;
            return Ok(status);
        }
        let endpoints: Vec<_> = self.state().endpoints_of_sandbox(&sandbox.id).iter().map(|e| e.id.clone()).collect();
        for id in endpoints {
            let _endpoint = self.reservations.take([id.to_string()]);
            self.detach(&id)?;
        }
        self.record_end(sandbox, status)
    }

    fn record_end(&self, sandbox: &Sandbox, status: SandboxStatus) -> Result<SandboxStatus, Error> {
        let ended = Sandbox { status: status.clone(), ..sandbox.clone() };
        self.commit_local("record the end of sandbox", &sandbox.name, records::put_sandbox(&ended))?;
        self.state().sandboxes.insert(ended.id.clone(), ended);
        self.runs.forget_exit(&sandbox.id);
        Ok(status)
    }

    /// A namespace is gone: so are the sandbox and the endpoints in it. The next namespace may have got its inode,
    /// and with it its identity, before this was heard, and even its path: what is in that one stays.
    pub(crate) fn namespace_gone(&self, namespace: &NamespaceId) {
        let (sandboxes, endpoints) = {
            let state = self.state();
            let in_it = |s: &&Sandbox| s.namespace == *namespace && s.status == SandboxStatus::Running;
            let sandboxes: Vec<_> = state.sandboxes.values().filter(in_it).cloned().collect();
            let endpoints: Vec<_> = state.endpoints_in(namespace).into_iter().cloned().collect();
            (sandboxes, endpoints)
        };
        for sandbox in sandboxes {
            if let Err(error) = self.check_sandbox(&sandbox) {
                tracing::error!(sandbox = %sandbox.name, %error, "its end could not be recorded yet");
            }
        }
        for endpoint in endpoints {
            if self.is_in_a_successor(&endpoint) {
                continue;
            }
            let id = &endpoint.id;
            let _mine = self.reservations.take([id.to_string()]);
            if let Err(error) = self.detach(id) {
                tracing::error!(endpoint = id.short(), %error, "its sandbox is gone; it is still to be released");
            }
        }
    }

    /// Whether an endpoint's path leads to a namespace of the right identity, and that has its link or is to have it.
    fn is_in_a_successor(&self, endpoint: &Endpoint) -> bool {
        let tag = plan::LinkTag::of(endpoint.id.as_str());
        let there = self.kernel.observe(&place(&endpoint.attachment), Some(&[tag]));
        there.is_ok_and(|seen| !seen.is_empty() || self.state().unsettled.contains(endpoint.id.as_str()))
    }

    /// Forgets a sandbox whose command has ended.
    pub fn remove_sandbox(&self, reference: &str) -> Result<SandboxView, Error> {
        let sandbox = self.state().sandbox(reference)?.clone();
        let _mine = self.reservations.take([sandbox.id.to_string()]);
        self.check_removable(&sandbox)?;
        let view = self.sandbox(sandbox.id.as_str())?;
        self.withdraw_sandbox(&sandbox)?;
        self.emit("sandbox", "remove", sandbox.id.as_str(), sandbox.name.as_str(), &[]);
        Ok(view)
    }

    fn check_removable(&self, sandbox: &Sandbox) -> Result<(), Error> {
        match self.locate_process(sandbox.process.pid) {
            Ok(at) if at.process == Some(sandbox.process) => {
                let name = &sandbox.name;
                Err(Error::Conflict(format!(
                    "sandbox {name} is running: stop it first (`trunkline stop {name}`), or use `trunkline rm -f {name}`"
                )))
            }
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
