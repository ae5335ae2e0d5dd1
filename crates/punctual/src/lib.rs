//! punctual
