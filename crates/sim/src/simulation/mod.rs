//! Runs real nodes under virtual time.
