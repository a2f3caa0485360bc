//! One suite for every variant of the store.
