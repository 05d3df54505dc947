//! The settings of a session: what Postgres' clients ask for and set. Few mean something here; the others are kept and told.

use std::{collections::BTreeMap, time::Duration};

use jiff::tz::TimeZone;

use super::{catalog::VERSION, fault::Fault};

/// The settings that clients are told of when they come, and when they change.
pub(super) const REPORTED: [&str; 12] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "is_superuser",
    "session_authorization",
    "default_transaction_read_only",
    "application_name",
];

/// See the module. Names are in lower case.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    usual: BTreeMap<String, String>,
    pub(super) values: BTreeMap<String, String>,
    /// What times are written in.
    pub(super) zone: TimeZone,
    /// How long a statement may take, if the client bounds it.
    pub(super) timeout: Option<Duration>,
}

impl Settings {
    /// Those that a session of `user` begins with.
    pub(super) fn new(user: &str) -> Self {
        let usual = [
            ("server_version", VERSION),
            ("server_version_num", "150000"),
            ("server_encoding", "UTF8"),
            ("client_encoding", "UTF8"),
            ("datestyle", "ISO, MDY"),
            ("intervalstyle", "postgres"),
            ("timezone", "UTC"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
            ("is_superuser", "off"),
            ("session_authorization", user),
            ("default_transaction_read_only", "on"),
            ("transaction_read_only", "on"),
            ("transaction_isolation", "read committed"),
            ("default_transaction_isolation", "read committed"),
            ("application_name", ""),
            ("search_path", "\"$user\", public"),
            ("default_table_access_method", "heap"),
            ("statement_timeout", "0"),
            ("extra_float_digits", "1"),
            ("max_identifier_length", "63"),
            ("bytea_output", "hex"),
            ("lc_collate", "C.UTF-8"),
            ("lc_ctype", "C.UTF-8"),
        ];
        let usual: BTreeMap<String, String> = usual.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { values: usual.clone(), usual, zone: TimeZone::UTC, timeout: None }
    }

    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Result<&str, Fault> {
        let value = self.values.get(&name.to_lowercase()).map(String::as_str);
        value.ok_or_else(|| Fault::new("42704", format!("unrecognized configuration parameter \"{name}\"")))
    }

    /// Sets `name`; to what it was at first, if `value` is `None`.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Fault> {
        let name = name.to_lowercase();
        let Some(value) = value.or_else(|| self.usual.get(&name).map(String::as_str)).map(str::to_owned) else {
            self.values.remove(&name);
            return Ok(());
        };
        let bad = || Fault::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
        match name.as_str() {
            "timezone" => self.zone = zone(&value).ok_or_else(bad)?,
            "client_encoding" if !["utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()) => {
                return Err(bad());
            }
            "statement_timeout" => self.timeout = timeout(&value).ok_or_else(bad)?,
            "default_transaction_read_only" | "transaction_read_only"
                if ["off", "false", "0"].contains(&value.as_str()) =>
            {
                return Err(Fault::read_only("a transaction that writes"));
            }
            "server_version" | "server_version_num" | "server_encoding" | "integer_datetimes" => {
                return Err(Fault::new("55P02", format!("parameter \"{name}\" cannot be changed")));
            }
            _ => {}
        }
        self.values.insert(name, value);
        Ok(())
    }

    /// Sets all as they were at first.
    pub(super) fn reset(&mut self) {
        *self = Self {
            values: self.usual.clone(),
            usual: std::mem::take(&mut self.usual),
            zone: TimeZone::UTC,
            timeout: None,
        };
    }
}

fn zone(name: &str) -> Option<TimeZone> {
    if ["utc", "etc/utc", "gmt", "0", "+00:00", "z"].contains(&name.to_lowercase().as_str()) {
        return Some(TimeZone::UTC);
    }
    TimeZone::get(name).ok()
}

/// `None` inside is no bound.
fn timeout(text: &str) -> Option<Option<Duration>> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        _ => return None,
    };
    let bound = Duration::from_millis(number.checked_mul(unit)?);
    Some((!bound.is_zero()).then_some(bound))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn settings_that_mean_something_are_checked() {
        let mut settings = Settings::new("any");
        settings.set("TimeZone", Some("Europe/Paris")).unwrap();
        settings.set("statement_timeout", Some("2s")).unwrap();
        settings.set("my.own", Some("x")).unwrap();
        assert_eq!(
            (settings.get("timezone").unwrap(), settings.timeout),
            ("Europe/Paris", Some(Duration::from_secs(2)))
        );
        assert_eq!(settings.zone, TimeZone::get("Europe/Paris").unwrap());
        for (name, value, code) in [
            ("timezone", "Nowhere/At_all", "22023"),
            ("client_encoding", "LATIN1", "22023"),
            ("default_transaction_read_only", "off", "25006"),
            ("server_version", "9", "55P02"),
            ("statement_timeout", "soon", "22023"),
        ] {
            assert_eq!(settings.set(name, Some(value)).unwrap_err().code, code, "{name}");
        }
        settings.reset();
        assert_eq!((settings.get("TimeZone").unwrap(), settings.get("my.own").is_err()), ("UTC", true));
    }
}
