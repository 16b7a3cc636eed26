//! Secrets of one stack: drawn at random when it first starts, kept in a file that only its owner may read.

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::project;

/// What edge and core know each other by.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secrets {
    /// The core signs its events with it; as Standard Webhooks writes secrets: `whsec_` and base64.
    pub event_signing_secret: String,
    /// The edge signs its own tokens with it.
    pub service_token_secret: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// New ones.
    pub fn random() -> Self {
        Self {
            event_signing_secret: format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>())),
            service_token_secret: random_text(),
        }
    }

    /// The secrets in that file, made first where there are none.
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

/// 256 random bits in letters, digits, `-` and `_`.
pub fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
