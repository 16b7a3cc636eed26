//! `cargo xtask package`: builds the client of one deployment: archives for the browsers' stores, and the page that is deployed
//! with the edge.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use devstack::{
    client::{Constants, Server},
    project,
    step::{OrStepFailed as _, say},
};
use serde::Deserialize;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// The browsers whose stores take an archive. Folders of `client/dist` have the same names.
const BROWSERS: [&str; 2] = ["chromium", "firefox"];

/// Builds the client for a deployment.
///
/// It writes the archives pagenow-chromium.zip and pagenow-firefox.zip, and puts the page into edge-worker/assets, from where
/// `wrangler deploy` deploys it with the edge. FILE is the JSON file that `cargo xtask configure --help` describes.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Package {
    /// The JSON file with the values of the deployment.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// The folder for the archives [default: client/dist]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// The fields of a deployment's file that the client needs.
#[derive(Debug, Deserialize)]
struct Deployment {
    edge_host: String,
    oidc_issuer: String,
    oidc_audience: String,
    images_origin: String,
    sign_in_origin: Option<String>,
}

impl From<Deployment> for Constants {
    fn from(deployment: Deployment) -> Self {
        Self {
            origin: format!("https://{}", deployment.edge_host),
            issuer: deployment.oidc_issuer,
            client_id: deployment.oidc_audience,
            images: deployment.images_origin,
            sign_in: deployment.sign_in_origin,
        }
    }
}

/// Builds the client, and writes the archives.
pub async fn run(package: Package) -> Result<()> {
    let here = std::env::current_dir()?;
    let from = here.join(&package.from);
    let built = project::root().join("client/dist");
    let to = package.to.map_or_else(|| built.clone(), |to| here.join(to));
    let read = || -> Result<Deployment> { Ok(serde_json::from_str(&fs::read_to_string(&from)?)?) };
    let advice = "`cargo xtask configure --help` shows what must stand in it";
    let deployment = read().or_step_failed(&format!("Reading {}", from.display()), advice)?;
    let assets = project::root().join("edge-worker/assets");
    Constants::from(deployment).build(Server::Cloudflare, &built, &assets).await?;
    project::make_dir(&to)?;
    for browser in BROWSERS {
        let archive = to.join(format!("pagenow-{browser}.zip"));
        write_archive(&built.join(browser), &archive)?;
        say(&format!("Written: {}", archive.display()));
    }
    say(&format!("Written: {}", assets.display()));
    let redirects =
        fs::read_to_string(built.join("redirects.txt")).context("the build did not say where sign-in returns to")?;
    say(&format!("Let the provider return to these after signing in and out:\n{}", redirects.trim_end()));
    Ok(())
}

/// Writes a folder's files into an archive. The same files always give the same bytes.
fn write_archive(folder: &Path, archive: &Path) -> Result<()> {
    let mut names = Vec::new();
    collect(folder, "", &mut names)?;
    names.sort();
    ensure!(names.iter().any(|name| name == "manifest.json"), "{} holds no extension", folder.display());
    let file = File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(file);
    for name in &names {
        zip.start_file(name, options)?;
        zip.write_all(&fs::read(folder.join(name))?)?;
    }
    zip.finish()?;
    Ok(())
}

/// Adds the names of all files in the folder and its subfolders, relative to the folder and separated by `/`.
fn collect(folder: &Path, above: &str, names: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a file's name is no Unicode")?;
        let name = format!("{above}{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use zip::ZipArchive;

    use super::*;

    fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join("extension").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn an_archive_holds_every_file_with_the_manifest_at_its_root_and_is_the_same_each_time() {
        let dir = folder_of(&[("manifest.json", "{}"), ("icons/16.png", "png"), ("_locales/ko/messages.json", "{ }")]);
        let write = |name: &str| {
            let archive = dir.path().join(name);
            write_archive(&dir.path().join("extension"), &archive).unwrap();
            fs::read(archive).unwrap()
        };
        let first = write("first.zip");
        // The file is written again, so its time differs.
        fs::write(dir.path().join("extension/manifest.json"), "{}").unwrap();
        assert_eq!(first, write("second.zip"));
        let mut archive = ZipArchive::new(File::open(dir.path().join("first.zip")).unwrap()).unwrap();
        let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["_locales/ko/messages.json", "icons/16.png", "manifest.json"]);
        let mut text = String::new();
        archive.by_name("icons/16.png").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "png");
    }

    #[test]
    fn a_folder_without_an_extension_becomes_no_archive() {
        let dir = folder_of(&[("popup.html", "")]);
        let archive = dir.path().join("none.zip");
        assert!(write_archive(&dir.path().join("extension"), &archive).is_err());
        assert!(!archive.exists());
    }
}
