//! What every structure has in common: the generator writes the fields, this the rest.

/// Implements [`crate::Shaped`], [`crate::Encode`], [`crate::Decode`] and `Debug` of a structure whose fields stand in the
/// order of its schema.
#[macro_export]
macro_rules! structures {
    ($($name:ident = $shape:ident [$($field:ident),*];)*) => {$(
        impl $crate::Shaped for $name {
            const SHAPE: &'static $crate::Shape = &super::schema::$shape;
        }

        impl $crate::Encode for $name {
            fn encode(&self, encoder: &mut dyn $crate::Encoder) {
                encoder.structure(&[$(&self.$field),*]);
            }
        }

        impl $crate::Decode for $name {
            fn decode(&mut self, decoder: &mut dyn $crate::Decoder) -> Result<$crate::Presence, $crate::DecodeError> {
                decoder.structure(&mut [$(&mut self.$field),*])?;
                Ok($crate::Presence::Present)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::show(self, &super::schema::$shape, formatter)
            }
        }
    )*};
}
