//! Where tasks go and which end, by example and as properties.
