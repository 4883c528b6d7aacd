//! What every enum of a model has in common.

/// An enum of a model: a closed set of texts. A text outside of the set in a request is refused, in an answer it counts
/// as not sent: so a value is always one that this version knows.
pub trait Enumeration: Copy + Default + 'static {
    /// Every value in the model's order.
    const ALL: &'static [Self];

    /// As it is on the wire.
    fn as_str(self) -> &'static str;

    /// The value of that text.
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == text)
    }
}

/// Defines an enum of a model with [`Enumeration`], [`crate::Encode`], [`crate::Decode`] and `Display`. The first value is
/// the default, which nothing but reading in place needs.
#[macro_export]
macro_rules! enumeration {
    ($name:ident { $first:ident = $first_text:literal $(, $variant:ident = $text:literal)* $(,)? }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum $name {
            #[default]
            $first,
            $($variant),*
        }

        impl $name {
            /// As it is on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $(Self::$variant => $text),*
                }
            }

            /// The value of that text.
            pub fn parse(text: &str) -> Option<Self> {
                <Self as $crate::Enumeration>::parse(text)
            }
        }

        impl $crate::Enumeration for $name {
            const ALL: &'static [Self] = &[Self::$first $(, Self::$variant)*];

            fn as_str(self) -> &'static str {
                $name::as_str(self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl $crate::Encode for $name {
            fn encode(&self, encoder: &mut dyn $crate::Encoder) {
                encoder.string(self.as_str());
            }
        }

        impl $crate::Decode for $name {
            fn decode(&mut self, decoder: &mut dyn $crate::Decoder) -> Result<$crate::Presence, $crate::DecodeError> {
                let Some(value) = Self::parse(&decoder.string()?) else {
                    return Ok($crate::Presence::Unknown);
                };
                *self = value;
                Ok($crate::Presence::Present)
            }
        }
    };
}
