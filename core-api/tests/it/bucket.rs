//! A real store with S3's interface, which checks signatures. Each test has a process of its own.

use std::{path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const ACCESS_KEY: &str = "AKIATEST";
const SECRET_KEY: &str = "the secret of the store";

/// The variable that names the program. `cargo xtask test` installs the program and sets this.
const PROGRAM: &str = "PAGENOW_S3_SERVER";

/// A running store with one empty bucket. When it is dropped, the process ends and its folder is removed.
pub struct Bucket {
    _server: Child,
    folder: PathBuf,
    pub url: String,
}

impl Bucket {
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("core-api-images-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(folder.join("images")).unwrap();
        let program = std::env::var(PROGRAM).unwrap_or_else(|_| panic!("{PROGRAM} names no S3 server"));
        let mut server = Command::new(program);
        server.args(["--host", "127.0.0.1", "--port", "0", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]);
        server.arg(&folder).env("RUST_LOG", "info").stdout(Stdio::piped()).kill_on_drop(true);
        let mut server = server.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if let Some((_, url)) = line.split_once("server is running at ") {
                break url.split([',', ' ']).next().unwrap().to_owned();
            }
        };
        // The rest of the output must be read, because the store stops when the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { _server: server, folder, url }
    }

    /// The flags of `serve` with which a core uses this store.
    pub fn flags(&self) -> Vec<&str> {
        flags(&self.url, SECRET_KEY).to_vec()
    }

    /// Sets the environment with which the program uses this store.
    pub fn configure(&self, mut core: Command) -> Command {
        core.envs([("PROFILE_IMAGES_BUCKET", "images"), ("AWS_ENDPOINT_URL", &self.url)]);
        core.envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]);
        core
    }

    /// The flags of a core that has another secret than the store.
    pub fn flags_with_another_secret(&self) -> Vec<&str> {
        flags(&self.url, "another secret").to_vec()
    }

    /// The images in the store, as `user.extension`.
    pub fn objects(&self) -> Vec<String> {
        let inside = |folder: &std::path::Path| -> Vec<String> {
            let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let bucket = self.folder.join("images");
        let image = |user: &str, name: String| format!("{user}.{}", name.strip_prefix("profile_image.").unwrap());
        let of_user = |user: String| -> Vec<String> {
            inside(&bucket.join(&user)).into_iter().map(|name| image(&user, name)).collect()
        };
        let mut names: Vec<String> = inside(&bucket).into_iter().flat_map(of_user).collect();
        names.sort();
        names
    }
}

fn flags<'a>(url: &'a str, secret: &'a str) -> [&'a str; 8] {
    [
        "--profile-images-bucket=images",
        "--aws-endpoint-url",
        url,
        "--aws-access-key-id",
        ACCESS_KEY,
        "--aws-secret-access-key",
        secret,
        "--aws-region=eu-west-1",
    ]
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
