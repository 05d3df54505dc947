//! Names of sources, views and columns: validated once, when they are made.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::limits::NAME_LENGTH_MAX;

/// A name that could not be one, with what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid {kind} name: use 1 to {NAME_LENGTH_MAX} of a-z, 0-9 and _, starting with a letter")]
pub struct InvalidName {
    /// What was to be named: `source`, `view`.
    pub kind: &'static str,
    /// The name as it was given.
    pub name: String,
}

fn validate(kind: &'static str, name: &str) -> Result<Arc<str>, InvalidName> {
    let starts_with_letter = name.starts_with(|c: char| c.is_ascii_lowercase());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.len() <= NAME_LENGTH_MAX && starts_with_letter && name.chars().all(allowed) {
        Ok(name.into())
    } else {
        Err(InvalidName { kind, name: name.to_owned() })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Validates `name`.
            ///
            /// # Errors
            /// [`InvalidName`], which says what is allowed.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                validate($kind, name).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a source.
    SourceName,
    "source"
);
name!(
    /// The name of a view.
    ViewName,
    "view"
);
