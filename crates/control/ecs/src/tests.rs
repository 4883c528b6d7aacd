//! Tests of the services through their trait.
