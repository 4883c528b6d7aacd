//! A driver's options, read with the reasons for which they are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::error::OptionError;
use crate::go;

/// What every driver has in Docker: read by who keeps lines, not by who sends them.
const OF_ALL_DRIVERS: &[&str] =
    &["mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];

/// Options of one driver.
pub(crate) struct Options<'a> {
    pub driver: &'static str,
    map: &'a BTreeMap<String, String>,
}

impl<'a> Options<'a> {
    /// `known` are all the driver has.
    pub fn new(driver: &'static str, map: &'a BTreeMap<String, String>, known: &[&str]) -> Result<Self, OptionError> {
        match map.keys().find(|name| !known.contains(&name.as_str()) && !OF_ALL_DRIVERS.contains(&name.as_str())) {
            Some(option) => Err(OptionError::Unknown { option: option.clone(), driver }),
            None => Ok(Self { driver, map }),
        }
    }

    #[cfg(test)]
    pub fn unchecked(driver: &'static str, map: &'a BTreeMap<String, String>) -> Self {
        Self { driver, map }
    }

    /// The value, unless it is empty.
    pub fn text(&self, option: &str) -> Option<&'a str> {
        self.map.get(option).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the option is there and empty.
    pub fn is_emptied(&self, option: &str) -> bool {
        self.map.get(option).is_some_and(String::is_empty)
    }

    pub fn required(&self, option: &'static str) -> Result<&'a str, OptionError> {
        self.text(option).ok_or(OptionError::Missing { option, driver: self.driver })
    }

    pub fn path(&self, option: &str) -> Option<PathBuf> {
        self.text(option).map(PathBuf::from)
    }

    pub fn boolean(&self, option: &'static str, default: bool) -> Result<bool, OptionError> {
        self.read(option, go::boolean, "neither true nor false").map(|value| value.unwrap_or(default))
    }

    pub fn duration(&self, option: &'static str) -> Result<Option<Duration>, OptionError> {
        self.read(option, go::duration, "no duration, such as 10s")
    }

    pub fn number<T: FromStr>(&self, option: &'static str) -> Result<Option<T>, OptionError> {
        self.read(option, |text| text.parse().ok(), "no number, or out of range")
    }

    /// The level of a compression: -1, which is the library's default, or 0 to 9.
    pub fn compression(&self, option: &'static str) -> Result<Option<flate2::Compression>, OptionError> {
        let level = |text: &str| match text.parse::<i8>().ok()? {
            -1 => Some(flate2::Compression::default()),
            level @ 0..=9 => Some(flate2::Compression::new(level.unsigned_abs().into())),
            _ => None,
        };
        self.read(option, level, "not between -1 and 9")
    }

    /// What `read` makes of the value.
    pub fn read<T>(
        &self,
        option: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
        reason: &str,
    ) -> Result<Option<T>, OptionError> {
        let Some(text) = self.text(option) else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| invalid(option, reason))
    }
}

pub(crate) fn invalid(option: &'static str, reason: impl Into<String>) -> OptionError {
    OptionError::Invalid { option, reason: reason.into() }
}
