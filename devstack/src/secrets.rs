//! The secrets of one stack. They are random, made at its first start, and kept in a file that only its owner may read.

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::project;

/// The secrets that edge and core share.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// The core signs its events with it. The format is that of Standard Webhooks: `whsec_` and base64.
    pub event_signing_secret: String,
    /// The edge signs its tokens for the core with it.
    pub service_token_secret: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Makes new secrets.
    pub fn random() -> Self {
        Self {
            event_signing_secret: format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>())),
            service_token_secret: random_text(),
        }
    }

    /// Reads the secrets from the file. If there is no file, makes new secrets and writes them there.
    pub fn load_or_make(path: &Path) -> Result<Self> {
        if path.exists() {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            return serde_json::from_str(&text).with_context(|| format!("{} is damaged; delete it", path.display()));
        }
        let secrets = Self::random();
        project::write_private(path, &serde_json::to_string_pretty(&secrets)?)?;
        Ok(secrets)
    }
}

/// 256 random bits as base64url: letters, digits, `-` and `_`.
pub fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
