//! What Docker asks its plugins.

use crate::outcome::{one_line, reached, serde_shape, shape};

/// A body, read as every question.
pub(super) fn question(input: &[u8]) {
    match ::docker::fuzzing::questions(input) {
        Err(error) => {
            let text = error.to_string().replace(char::is_control, " ");
            one_line(&text);
            reached(if matches!(error, ::docker::Error::Body { .. }) { serde_shape(&text) } else { shape(&text) });
        }
        Ok((network, pool)) => {
            reached(format!("{} {}", network.existing.is_some(), network.spec.subnets.len().min(3)));
            assert!(!network.spec.options.contains_key("network") && !network.spec.options.contains_key("name"));
            assert!(network.spec.gateways.len() <= network.spec.subnets.len(), "{network:?}");
            if let Some(pool) = pool {
                let again = pool.to_string();
                assert_eq!(again.parse::<::engine::PoolId>().ok(), Some(pool), "{again}");
                reached(format!("pool {}", pool.range.is_some()));
            }
        }
    }
}
