//! Tasks from RunTask to oblivion.
