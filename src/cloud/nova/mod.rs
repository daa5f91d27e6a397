//! The real cloud: Keystone and Nova over HTTPS.
