//! Services, from their making to their end.
