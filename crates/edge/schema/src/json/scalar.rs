//! Which JSON values are taken for which plain values.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};

/// Visitors of one kind of value: what is expected, and what is taken for it.
macro_rules! scalar {
    ($name:ident, $type:ty, $expecting:literal, { $($methods:item)* }) => {
        pub(super) struct $name;

        impl Visitor<'_> for $name {
            type Value = $type;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str($expecting)
            }

            $($methods)*
        }
    };
}

scalar!(Text, String, "a string", {
    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<String, E> {
        Ok(value)
    }
});

scalar!(Boolean, bool, "a boolean", {
    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
});

scalar!(Integer, i64, "an integer", {
    fn visit_i64<E: Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    /// `1.0` and `1e3` are integers, too.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "in range and whole")]
    fn visit_f64<E: Error>(self, value: f64) -> Result<i64, E> {
        if value.fract() == 0.0 && value.abs() < (1_i64 << 53) as f64 {
            Ok(value as i64)
        } else {
            Err(E::invalid_value(Unexpected::Float(value), &self))
        }
    }
});

scalar!(Double, f64, "a number", {
    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    #[allow(clippy::cast_precision_loss, reason = "a floating point number is asked for")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "a floating point number is asked for")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<f64, E> {
        crate::scalar_text::non_finite_of_name(value).ok_or_else(|| E::invalid_type(Unexpected::Str(value), &self))
    }
});
