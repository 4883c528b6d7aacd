//! What the error types of all APIs have in common.

use serde_json::{Map, Value};

use crate::{ApiError, Encode, Shape, json};

/// The error type of an API: one variant for each error of the model, and one for all that every API may answer.
pub trait ModelledError: From<ApiError> + Into<ApiError> + std::error::Error + Send + Sync + 'static {}

/// For an API that models no errors.
impl ModelledError for ApiError {}

/// The API error of a modelled one.
pub fn to_api_error(code: &'static str, status: u16, shape: &'static Shape, value: &dyn Encode) -> ApiError {
    let mut members = match json::to_value_of(value, shape) {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let message = ["message", "Message"].iter().find_map(|name| members.remove(*name));
    let message = message.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    ApiError { code: code.into(), message, status, members }
}

/// The members of a modelled error, from the error that a service told of.
pub fn members_of(error: &ApiError) -> Value {
    let mut members = error.members.clone();
    members.insert("message".to_owned(), Value::String(error.message.clone()));
    Value::Object(members)
}

/// Defines the error type of an API from its table of errors: variant, constructor, code, HTTP status.
#[macro_export]
macro_rules! errors {
    ($($variant:ident, $constructor:ident, $code:literal, $status:literal;)*) => {
        /// Why an operation was refused, or failed.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Error {
            $(
                #[doc = concat!("`", $code, "`")]
                $variant(super::types::$variant),
            )*
            /// What is not of this model: errors that every API may answer, such as `AccessDeniedException`,
            /// `InternalFailure` and `NotImplemented`.
            Other($crate::ApiError),
        }

        impl Error {
            $(
                #[doc = concat!("`", $code, "` with a message for people.")]
                #[allow(clippy::needless_update, reason = "some errors have more members")]
                pub fn $constructor(message: impl Into<String>) -> Self {
                    Self::$variant(super::types::$variant { message: Some(message.into()), ..Default::default() })
                }
            )*

            /// An operation that has no handler.
            pub fn not_implemented(operation: &$crate::OperationSchema) -> Self {
                Self::Other($crate::ApiError::not_implemented(operation))
            }

            /// What a client is told when the service itself failed; the reason belongs into the log, not here.
            pub fn internal_failure() -> Self {
                let message = "The request processing has failed because of an unknown error, exception or failure.";
                Self::Other($crate::ApiError::new("InternalFailure", message, 500))
            }

            /// The code that clients tell errors apart by.
            pub fn code(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $code,)*
                    Self::Other(error) => &error.code,
                }
            }

            /// The message for people; empty when there is none.
            pub fn message(&self) -> &str {
                match self {
                    $(Self::$variant(error) => error.message.as_deref().unwrap_or_default(),)*
                    Self::Other(error) => &error.message,
                }
            }
        }

        impl std::fmt::Display for Error {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "{}: {}", self.code(), self.message())
            }
        }

        impl std::error::Error for Error {}

        impl $crate::ModelledError for Error {}

        impl From<Error> for $crate::ApiError {
            fn from(error: Error) -> Self {
                match error {
                    $(Error::$variant(error) => {
                        let shape = <super::types::$variant as $crate::Shaped>::SHAPE;
                        $crate::error_parts::to_api_error($code, $status, shape, &error)
                    })*
                    Error::Other(error) => error,
                }
            }
        }

        impl From<$crate::ApiError> for Error {
            fn from(error: $crate::ApiError) -> Self {
                let members = || $crate::error_parts::members_of(&error);
                let modelled = match &*error.code {
                    $($code => $crate::json::from_value(&members()).ok().map(Self::$variant),)*
                    _ => None,
                };
                modelled.unwrap_or(Self::Other(error))
            }
        }
    };
}
