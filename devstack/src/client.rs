//! Builds the client of a system: its page, which the edge serves, and its extensions. The constants of the system are built into
//! the client.

use std::{fs, path::Path, time::SystemTime};

use anyhow::{Context as _, Result};

use crate::{project, step::Step, tools};

/// The constants of the system that a client is built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constants {
    /// The one public origin, without a slash at its end.
    pub origin: String,
    /// The OIDC issuer that signs people in: exactly the `iss` claim of tokens.
    pub issuer: String,
    /// The client's id at the issuer.
    pub client_id: String,
    /// The origin to which profile images are uploaded, and from which they are shown.
    pub images: String,
    /// The origin of the issuer's endpoints, if it is not the issuer's own.
    pub sign_in: Option<String>,
}

/// The server of the page's files.
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

    /// Builds the page and both extensions into `built`, as `app`, `chromium` and `firefox`. Then copies the page, with its HTTP
    /// headers, into `served`.
    ///
    /// # Errors
    ///
    /// If the client does not compile, or a folder cannot be written.
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

    /// Copies the page that was built into `built`, with its HTTP headers, into `served`.
    ///
    /// # Errors
    ///
    /// If no page was built, or the folder cannot be written.
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

/// Notices changes of the client's sources.
#[derive(Debug, Default)]
pub struct Watch {
    known: Option<SystemTime>,
}

impl Watch {
    /// Whether a source was written since the last call. The first call returns `false`.
    ///
    /// # Errors
    ///
    /// If the sources cannot be read.
    pub fn has_changed(&mut self) -> Result<bool> {
        let newest = newest_in(&project::root().join("client"))?;
        let before = std::mem::replace(&mut self.known, newest);
        Ok(before.is_some() && newest > before)
    }
}

/// When the newest source in the folder was written. Built files, packages and tests do not count.
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
            // This may fail because an editor has just replaced the file.
            entry.metadata().and_then(|about| about.modified()).ok()
        };
        newest = newest.max(written);
    }
    Ok(newest)
}

/// The origin of the Chromium extension in a folder of built files, from the addresses that the build lists for sign-in. `None` if it
/// is not built, or has no key: then the origin depends on the folder from which it is loaded.
pub fn extension_origin(built: &Path) -> Option<String> {
    let redirects = fs::read_to_string(built.join("redirects.txt")).ok()?;
    let id = |line: &str| line.strip_prefix("https://")?.strip_suffix(".chromiumapp.org/").map(str::to_owned);
    redirects.lines().find_map(id).map(|id| format!("chrome-extension://{id}"))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn an_extensions_origin_is_the_one_that_sign_in_returns_to() {
        let built = tempfile::tempdir().unwrap();
        assert_eq!(extension_origin(built.path()), None);
        let page = "https://api.example.org/app/\n";
        fs::write(built.path().join("redirects.txt"), page).unwrap();
        assert_eq!(extension_origin(built.path()), None);
        let with_key = format!("{page}https://lkhibglpipabmpokebebeanofnkocccd.chromiumapp.org/\n");
        fs::write(built.path().join("redirects.txt"), with_key).unwrap();
        assert_eq!(extension_origin(built.path()).unwrap(), "chrome-extension://lkhibglpipabmpokebebeanofnkocccd");
    }

    #[test]
    fn only_sources_count_and_not_built_files_packages_or_tests() {
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
