//! Structured logs on stderr.

use crate::config::LogFormat;
use tracing_subscriber::EnvFilter;

/// Starts logging: `info` and above, or what TRUNKLINE_LOG says (`debug`, `engine=trace` …). A second
/// call changes nothing.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into());
    let filter = filter.with_env_var("TRUNKLINE_LOG").from_env_lossy();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only where a subscriber is in place already.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
