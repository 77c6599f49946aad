//! What Docker is told when something fails.

/// A request that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no request.
    #[error("the request cannot be read: {reason}")]
    Body {
        /// The parser's reason.
        reason: String,
    },
    /// A value in it is none.
    #[error("{field}: {value:?} is no {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// As given.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An option that has no text.
    #[error("option {option}: a text is expected")]
    Option {
        /// The option.
        option: String,
    },
    /// The engine's reason.
    #[error(transparent)]
    Engine(Box<engine::Error>),
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        Self::Engine(Box::new(error))
    }
}
