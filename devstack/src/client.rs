//! The client of a system: its page, which the edge serves, and its extensions. What it must know of the system is built
//! into it.

use std::{fs, path::Path, time::SystemTime};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{project, step::Step, tools};

/// What a client must know of the system it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constants {
    /// The one public origin, without a slash at its end.
    pub origin: String,
    /// Exactly the `iss` of tokens: who signs people in.
    pub issuer: String,
    /// The client's id there.
    pub client_id: String,
    /// Where profile images are uploaded to and shown from.
    pub images: String,
    /// The origin of the issuer's endpoints, where it is not the issuer's own.
    pub sign_in: Option<String>,
}

/// Who serves the page's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Cloudflare,
    Caddy,
}

impl Constants {
    fn variables(&self) -> [(&'static str, &str); 5] {
        [
            ("PAGENOW_ORIGIN", &self.origin),
            ("PAGENOW_ISSUER", &self.issuer),
            ("PAGENOW_CLIENT_ID", &self.client_id),
            ("PAGENOW_IMAGES", &self.images),
            ("PAGENOW_SIGN_IN", self.sign_in.as_deref().unwrap_or_default()),
        ]
    }

    /// Builds the page and both extensions into `built`, as `app`, `chromium` and `firefox`, and puts the page with the
    /// headers it is served with into `served`.
    ///
    /// # Errors
    ///
    /// When it does not compile, or a folder cannot be written.
    pub async fn build(&self, server: Server, built: &Path, served: &Path) -> Result<()> {
        tools::ensure_npm_packages().await?;
        project::make_dir(built)?;
        let built = fs::canonicalize(built)?;
        let mut npm = project::command("npm");
        npm.args(["run", "build", "--workspace", "client", "--"]).arg(&built).envs(self.variables());
        let step = Step {
            name: "build-client",
            about: "Building the client",
            advice: "read the compiler's words above; `npm run build --workspace client` repeats them",
        };
        step.run(npm).await?;
        self.place(server, &built, served).await
    }

    /// Puts the page that was built into `built` into `served`.
    ///
    /// # Errors
    ///
    /// When none is built, or the folder cannot be written.
    pub async fn place(&self, server: Server, built: &Path, served: &Path) -> Result<()> {
        let mut node = project::command(tools::node().await?);
        node.arg(project::root().join("edge-worker/page.mjs")).arg(match server {
            Server::Cloudflare => "cloudflare",
            Server::Caddy => "caddy",
        });
        node.arg(built.join("app")).arg(served).envs(self.variables());
        let step = Step {
            name: "place-page",
            about: "Putting the page where it is served from",
            advice: "see what is missing above",
        };
        step.run(node).await
    }
}

/// Tells when the client's sources change.
#[derive(Debug, Default)]
pub struct Watch {
    known: Option<SystemTime>,
}

impl Watch {
    /// Whether anything was written since this was asked before. The first time, nothing was.
    ///
    /// # Errors
    ///
    /// When the sources cannot be read.
    pub fn has_changed(&mut self) -> Result<bool> {
        let newest = newest_in(&project::root().join("client"))?;
        let before = std::mem::replace(&mut self.known, newest);
        Ok(before.is_some() && newest > before)
    }
}

/// When the newest source in the folder was written. What is built there is none, nor is what tests it.
fn newest_in(folder: &Path) -> Result<Option<SystemTime>> {
    let mut newest = None;
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if ["dist", "e2e", "node_modules", "store", "tests"].iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let written = if entry.file_type()?.is_dir() {
            newest_in(&entry.path())?
        } else {
            // An editor may have replaced it meanwhile.
            entry.metadata().and_then(|about| about.modified()).ok()
        };
        newest = newest.max(written);
    }
    Ok(newest)
}

#[derive(Deserialize)]
struct Manifest {
    key: Option<String>,
}

/// The origin of the extension for Chromium that was built into a folder, as its manifest's key makes it. None where it is
/// not built, or has no key, when the folder it is loaded from decides.
pub fn extension_origin(built: &Path) -> Option<String> {
    let manifest = fs::read_to_string(built.join("chromium/manifest.json")).ok()?;
    let manifest: Manifest = serde_json::from_str(&manifest).ok()?;
    origin_of(&manifest.key?).ok()
}

/// The id is the first half of the key's hash, with letters from a to p for its digits.
fn origin_of(key: &str) -> Result<String> {
    let hash = Sha256::digest(STANDARD.decode(key).context("the manifest's key is no base64")?);
    let half = hash.get(..16).context("a hash has 32 bytes")?;
    let digits = half.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let id: String = digits.map(|digit| char::from(b'a' + digit)).collect();
    ensure!(id.len() == 32, "an id has 32 letters");
    Ok(format!("chrome-extension://{id}"))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn an_extensions_origin_follows_from_its_key_as_chromium_makes_it() {
        // Of a public key in DER, whose hash is known.
        let origin = origin_of(&STANDARD.encode(b"abc")).unwrap();
        // SHA-256 of "abc" begins ba7816bf 8f01cfea 414140de 5dae2223.
        assert_eq!(origin, "chrome-extension://lkhibglpipabmpokebebeanofnkocccd");
        assert!(origin_of("no base64!").is_err());
    }

    #[test]
    fn the_newest_source_counts_and_what_is_built_does_not() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["src/views", "dist/app", "e2e", "node_modules/x"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let write = |name: &str, s: u64| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(s)).unwrap();
        };
        write("package.json", 5);
        write("src/views/list.tsx", 7);
        write("dist/app/index.html", 9);
        write("e2e/story.test.mjs", 9);
        write("node_modules/x/index.js", 9);
        assert_eq!(newest_in(dir.path()).unwrap(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7)));
    }
}
