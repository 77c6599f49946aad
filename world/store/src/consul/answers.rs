//! Consul's answers, which are JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A key-value pair, in lists and in a transaction's results.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pair {
    pub(super) key: String,
    /// In base64; null for an empty one.
    #[serde(default)]
    value: Option<String>,
    pub(super) modify_index: u64,
    /// The session that holds it.
    #[serde(default)]
    pub(super) session: Option<String>,
}

impl Pair {
    pub(super) fn value(&self) -> Result<Vec<u8>, String> {
        let text = self.value.as_deref().unwrap_or_default();
        STANDARD.decode(text).map_err(|error| format!("the value of {}: {error}", self.key))
    }
}

/// A transaction's answer, whether it took effect or not.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TxnDone {
    #[serde(default)]
    pub(super) results: Option<Vec<TxnResult>>,
    #[serde(default)]
    pub(super) errors: Option<Vec<TxnError>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct TxnResult {
    #[serde(rename = "KV")]
    pub(super) pair: Option<Pair>,
}

/// Why an operation failed. All that fail are named.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TxnError {
    pub(super) op_index: usize,
    #[serde(default)]
    pub(super) what: String,
}

/// A session that was made, or is asked about.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Session {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

/// Reads an answer; what is wrong with it, if anything.
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("an answer that is not Consul's: {error}"))
}

/// A session's UUID as a number.
pub(super) fn session_number(text: &str) -> Option<u128> {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hex = parts.concat();
    if lengths != [8, 4, 4, 4, 12] || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&hex, 16).ok()
}

/// And back.
pub(super) fn session_text(number: u128) -> String {
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_real_server_said() {
        let pairs: Vec<Pair> = read(
            br#"[{"LockIndex":0,"Key":"a/x","Flags":0,"Value":"MQ==","CreateIndex":14,"ModifyIndex":14},
                {"LockIndex":0,"Key":"a/y/","Flags":0,"Value":null,"CreateIndex":8,"ModifyIndex":8}]"#,
        )
        .unwrap();
        assert_eq!(pairs[0].value(), Ok(b"1".to_vec()));
        assert_eq!((pairs[1].value(), pairs[1].modify_index), (Ok(Vec::new()), 8));
        let done: TxnDone = read(br#"{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"a/x\" exists"}]}"#).unwrap();
        assert_eq!(done.errors.unwrap()[0].op_index, 0);
    }

    #[test]
    fn sessions() {
        let text = "0df4238a-882b-9ddc-4a9d-5b6758e4159e";
        assert_eq!(session_number(text).map(session_text).as_deref(), Some(text));
        for bad in ["", "0df4238a882b9ddc4a9d5b6758e4159e", "+df4238a-882b-9ddc-4a9d-5b6758e4159e"] {
            assert_eq!(session_number(bad), None);
        }
    }
}
